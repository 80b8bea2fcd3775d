import Testing

@testable import AutonGate

@Suite struct DisguiseRuleTests {
    private func violations(_ path: String, _ text: String, from old: String? = nil) -> [String] {
        DisguiseRule().violations(in: .made(path, from: old, to: text))
    }

    @Test func honestCode() {
        let code = """
            #pragma once
            #include <stdint.h>
            #include "string.h"
            #include "../include/boot.h"
            #define MAX(a, b) ((a) > (b) ? (a) : (b))
            #define WAT "what??!"
            #pragma GCC diagnostic push
            static const char *why = "für";\t/* what?? really?! */
            """
        #expect(violations("lib/a.c", code + "\r\n") == [])
        #expect(violations("boot/a.asm", "%macro handler 1\n%define X 1\n%include \"x.inc\"\nhandler 1\n%endmacro\n") == [])
    }

    @Test(arguments: [
        ("??=define A", "a trigraph"), ("// a comment??/\nreturn;", "a trigraph"), ("int a = 1 ??! 2;", "a trigraph"),
        ("char *a = R\"x(\")x\";", "a raw string"), ("char *a = u8R\"(\")\";", "a raw string"),
        ("#define return", "gives another meaning to return"), ("%:define if(x) if (0)", "gives another meaning to if"),
        ("# /* */ define \\\nwhile if", "gives another meaning to while"),
        ("#define static extern", "gives another meaning to static"),
        ("#undef __FILE__", "gives another meaning to __FILE__"), ("#include \"run.c\"", "includes what is no header: run.c"),
        ("#include \"x.inc\"", "includes what is no header: x.inc"),
        ("#include \"/etc/passwd\"", "includes a file from outside: /etc/passwd"),
        ("#include <../lib/a.c>", "includes what is no header: ../lib/a.c"),
        ("#define H \"a.h\"\n#include H", "includes what a macro says"),
        ("#include_next <stdint.h>", "#include_next"), ("#import \"a.h\"", "#import"),
        ("#pragma redefine_extname emit report_text", "#pragma redefine_extname"), ("#pragma weak harness_run", "#pragma weak"),
        ("#pragma push_macro(\"KASSERT\")", "#pragma push_macro"),
        ("int a; // \u{202e}x", "a character that is not shown, U+202E"),
        ("int \u{200b}a;", "a character that is not shown, U+200B"),
        ("int a; \u{1b}[2K", "a character that is not shown, U+1B"),
    ])
    func disguises(code: String, what: String) {
        let found = violations("lib/a.c", "int first;\n" + code + "\n")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("lib/a.c: \(what) (line ") == true, "\(found)")
    }

    @Test func nasmInstructions() {
        #expect(violations("boot/a.asm", "%macro mov 2\n%endmacro\n") == ["boot/a.asm: gives another meaning to mov (line 1)"])
    }

    @Test func whatIsThereAlreadyIsNotTheChange() {
        let old = "#include \"table.c\"\n"
        #expect(violations("lib/a.c", old + "int a;\n", from: old) == [])
        #expect(violations("lib/a.c", old + old, from: old) == ["lib/a.c: includes what is no header: table.c (line 2)"])
    }

    /// Only if it was unseen is a comment's text a disguise.
    @Test func commentsAndStringsAreText() {
        #expect(violations("lib/a.c", "/* #define return, R\"x( */\nchar a[] = \"#include 'x.c'\";\n") == [])
    }
}
