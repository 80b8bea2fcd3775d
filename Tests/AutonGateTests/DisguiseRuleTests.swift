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
            #  pragma pack(push, 1)
            #pragma pack(pop)
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
        ("#include \"../../usr/include/linux/limits.h\"", "includes a file from outside: ../../usr/include/linux/limits.h"),
        ("#undef NULL", "gives another meaning to NULL"), ("#define UINT64_MAX 7", "gives another meaning to UINT64_MAX"),
        ("#define offsetof(a, b) 0", "gives another meaning to offsetof"),
        ("#define uintptr_t int", "gives another meaning to uintptr_t"),
        ("#include <../lib/a.c>", "includes what is no header: ../lib/a.c"),
        ("#define H \"a.h\"\n#include H", "includes what a macro says"),
        ("#include_next <stdint.h>", "#include_next"), ("#import \"a.h\"", "#import"),
        ("#pragma redefine_extname emit report_text", "#pragma redefine_extname emit report_text"),
        ("#pragma push_macro(\"KASSERT\")", "#pragma push_macro(\"KASSERT\""),
        ("#pragma GCC diagnostic ignored \"-Wunused-variable\"", "#pragma GCC diagnostic ignored"),
        ("#pragma GCC system_header", "#pragma GCC system_header"),
        ("%:pragma STDC FP_CONTRACT ON", "#pragma STDC FP_CONTRACT ON"),
        ("extern inline __attribute__((gnu_inline)) int b(void) { return 1; }", "gnu_inline"),
        ("__attribute__((noinline, weak)) int b(void) { return 1; }", "weak"), ("[[gnu::__weak__]] int b;", "__weak__"),
        ("_Pragma(\"GCC optimize(0)\") int b;", "_Pragma"),
        ("#define QUIET _Pragma(\"GCC diagnostic ignored \\\"-Wall\\\"\")", "_Pragma"),
        ("#line 7 \"x.c\"", "#line"), ("# 7 \"x.c\" 3", "#line"), ("#define ASM __asm__", "gives another name to __asm__"),
        ("#define ASM __asm__ volatile", "gives another name to __asm__"),
        ("#define K\u{410}SSERT(x) (void)(x)", "a letter that is not ASCII: K\u{410}SSERT"),
        ("int m\u{435}mcmp(void);", "a letter that is not ASCII: m\u{435}mcmp"),
        ("int a\u{a0};", "a letter that is not ASCII: a\u{a0}"),
        ("int \u{3164} = 1;", "a letter that is not ASCII: \u{3164}"),
        ("int a\u{200d}b;", "a letter that is not ASCII: a\u{200d}b"),
        ("int m\\u0435mcmp(void);", "a universal character name"), ("#define A\\U00000410 1", "a universal character name"),
        ("char *a = \"a\u{200d}\";", "a character that is not shown, U+200D"),
        ("// x\u{2028}int b;", "a character that is not shown, U+2028"),
        ("int a; // \u{feff}", "a character that is not shown, U+FEFF"),
        ("int a; // \u{202e}x", "a character that is not shown, U+202E"),
        ("int \u{200b}a;", "a character that is not shown, U+200B"),
        ("int a; \u{1b}[2K", "a character that is not shown, U+1B"), ("// First.\rreturn;", "a character that is not shown, U+D"),
        ("int a;\u{c}int b;", "a character that is not shown, U+C"),
        ("JOIN(__BASE_FI, LE__)", "a name of the compiler's, or a part of one: __BASE_FI"),
        ("char *a = __TIMESTAMP__;", "a name of the compiler's, or a part of one: __TIMESTAMP__"),
        ("#define EXISTS __has_include", "a name of the compiler's, or a part of one: __has_include"),
        ("int a = JOIN(_, _start_ktests);", "a name of the compiler's, or a part of one: _"),
        ("int a = CALL((__h, as_include));", "a name of the compiler's, or a part of one: __h"),
        ("int a = DEFER(JOIN)(__w, eak__);", "a name of the compiler's, or a part of one: __w"),
        ("#define FIRST __f", "a name of the compiler's, or a part of one: __f"),
        ("#define FIRST __f NOTHING", "a name of the compiler's, or a part of one: __f"),
        ("#define A(b) __f##b", "a name of the compiler's, or a part of one: __f"),
        ("#if JOIN(__h, x)\n#endif", "a name of the compiler's, or a part of one: __h"),
        ("#define SHRT_MAX 7", "gives another meaning to SHRT_MAX"),
    ])
    func disguises(code: String, what: String) {
        let found = violations("lib/a.c", "int first;\n" + code + "\n")
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.hasPrefix("lib/a.c: \(what) (line ") == true, "\(found)")
    }

    @Test func namesThatCodeHasAUseFor() {
        let code = """
            #ifndef _BOOT_H_
            #define _BOOT_H_
            extern const char __text_start[], __kernel_phys_end[];
            static inline __attribute__((__packed__, noreturn)) void f(int n, ...) { __builtin_ctz(n), __atomic_load_n(&n, __ATOMIC_RELAXED); }
            #define LOG(...) log(__LINE__, __VA_ARGS__)
            #define __packed __attribute__((packed))
            #define AT(field, at) _Static_assert(offsetof(struct a, field) == (at), #field)
            AT(length, 8);
            #define min(a, b) ({ __typeof__(a) __a = (a); __typeof__(b) __b = (b); __a < __b ? __a : __b; })
            #define put(__s) ({ __asm__ volatile("nop" : : "r"(__s)); uint64_t __w[] = {1}; if (__w) (__w)[0] = sizeof(__w); })
            #define CHAR_WIDTH 8
            #define read_cr(n) ({ uint64_t v_; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
            #endif
            """
        #expect(violations("lib/a.h", code) == [])
    }

    /// What a header promises, a test's compiler does not look for any more.
    @Test(arguments: [
        "void *a(int n) __attribute__((assume_aligned(64)));", "static inline void f(int n) { if (n) __builtin_unreachable(); }",
    ])
    func promisesToTheCompiler(_ code: String) {
        #expect(
            violations("include/a.h", code + "\n").first?.contains("promises the compiler what tests are to find out") == true)
        #expect(violations("lib/a.c", code + "\n") == [])
    }

    /// A word of tests that are there is something else there than a macro, unless it was one before, in whichever header.
    @Test func aWordOfTestsAsAMacro() async throws {
        let ws = try await TestWorkspace(only: [
            "include/old.h": "#define KNOWN 1\n", "tests/lib_a.c": "/* spoken */ static int wrong = KNOWN + 1, X, MAX;\n",
            "harness/mem.c": "",
        ])
        let macros =
            "#define wrong wrong[4096 - __LINE__]\n#define spoken spoken\n#define KNOWN KNOWN\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\n#define X(a) V_##a\nenum { X(A), X(B) };\n#undef X\n"
        let found = DisguiseRule().violations(in: try await ws.change(["include/new.h": .write(macros)]))
        #expect(found == ["include/new.h: gives another meaning to wrong, which tests/lib_a.c has (line 1)"])
        #expect(DisguiseRule().violations(in: try await ws.change(["lib/new.c": .write(macros)])) == [])
    }

    /// What tests call is theirs, whatever a macro makes of it; one that they have may move to a header as it is.
    @Test(arguments: [
        ("#define well_formed(...) well_known __VA_OPT__(= true; static bool well_formed_really(__VA_ARGS__))\n", true),
        ("#define PASTE(a, b) a##b\n#define well_formed(a) PASTE(well_, a)\n", true), ("#define well_formed(a) true\n", true),
        ("#define check(a)\n", true), ("#define LENGTH(a) 0\n", true), ("#define LENGTH(a) (sizeof(a) / 8)\n", false),
        ("#define other(a) true\n", false),
    ])
    func whatTestsCallAsAMacro(macro: String, isRefused: Bool) async throws {
        let test = """
            #ifndef LENGTH
            #define LENGTH(a) (sizeof(a) / 8)
            #endif
            static bool well_formed(const struct map *map) { return map->length < LENGTH(map->all); }
            static void each(const struct map *maps, bool (*check)(const struct map *)) { KASSERT(check(maps)); }
            """
        let ws = try await TestWorkspace(only: ["tests/mm_map.c": test, "harness/mem.c": ""])
        let found = DisguiseRule().violations(in: try await ws.change(["include/mm.h": .write(macro)]))
        #expect(found.contains { $0.contains("which tests/mm_map.c has") } == isRefused, "\(found)")
        #expect(found.count == (isRefused ? 1 : 0))
    }

    @Test func aPragmaThatMakesWeak() {
        #expect(
            violations("lib/a.c", "#pragma weak sum\n") == [
                "lib/a.c: #pragma weak sum (line 1)", "lib/a.c: weak (line 1)",
            ])
    }

    @Test func nasmInstructions() {
        #expect(violations("boot/a.asm", "%macro mov 2\n%endmacro\n") == ["boot/a.asm: gives another meaning to mov (line 1)"])
    }

    @Test(arguments: [
        ("[warning -all]", "[warning"), ("[WARNING off]", "[warning"), ("%define QUIET [warning -all]", "[warning"),
        ("weak sum", "weak"), ("[WEAK sum]", "WEAK"), ("%pragma output x", "%pragma"), ("%line 7 x.asm", "%line"),
        ("m\u{435}mcmp:", "a letter that is not ASCII: m\u{435}mcmp"), ("%comment it", "%comment"),
        ("inc%[B] \"x\"", "makes a name of parts: inc %[B] \"x\""),
        ("extern __start_%[S]", "makes a name of parts: extern __start_ %[S]"),
        ("section .%[S].ktests", "makes a name of parts: section.%[S] .ktests"),
        ("mov eax, a %+ b", "makes a name of parts: mov eax, a %+ b"),
        ("%1bin 'x'", "makes a name of parts: % 1bin \"x\""), ("inc%1 'x'", "makes a name of parts: inc % 1 \"x\""),
    ])
    func nasm(code: String, what: String) {
        #expect(violations("boot/a.asm", "a:\n" + code + "\n") == ["boot/a.asm: \(what) (line 2)"])
    }

    /// A test has the header, too.
    @Test(arguments: [
        ("#ifdef STRING_OWN\nint f(void);\n#endif", "is another header where STRING_OWN is defined"),
        ("#ifndef A\n#define B\n#endif", "is another header where A is defined"),
        ("#if defined(A) && B", "is another header where A is defined"), ("#elifdef A", "is another header where A is defined"),
        ("#define EINVAL ({ return; 22; })", "a macro that leaves whoever has it: EINVAL (return)"),
        ("#define F(x) do { goto out; } while (0)", "a macro that leaves whoever has it: F (goto)"),
        ("#define N ({ break; 2; })", "a macro that leaves whoever has it: N (break)"),
        (
            "static inline int f(void) { __asm__ volatile(\"leave\\n\\tret\" : : : \"memory\"); return 1; }",
            "assembly that returns, in a header: leave"
        ),
        ("#define BACK __asm__(\"retq\")", "assembly that returns, in a header: retq"),
    ])
    func aHeaderThatIsNotTheSameForAll(code: String, what: String) {
        #expect(violations("include/a.h", code).first?.hasPrefix("include/a.h: \(what) (line ") == true)
        #expect(violations("lib/a.c", code) == [])
    }

    @Test func headersThatAreTheSameForAll() {
        let code = """
            /* A. */
            #ifndef A_H
            #define A_H
            #define WIDTH 8
            #if WIDTH > 4 && defined(__x86_64__)
            #define EACH(i) for (int i = 0; i < WIDTH; i++) if (!at(i)) continue; else
            #endif
            static inline void halt(void) { __asm__ volatile("sti; hlt"); }
            #endif
            """
        #expect(violations("include/a.h", code) == [])
    }

    @Test func localLabelsOfParts() { #expect(violations("boot/a.asm", ".v%[v]:\n\tdq a.v%[v]\n") == []) }

    /// A header's macro would be what tests call in place of the function.
    @Test func aFunctionAsAMacro() {
        let prototype = "void *memcpy(void *to, const void *from, size_t n);\n",
            macro = "#define memcpy(to, from, n) memmove(to, from, n)\n"
        let what = "gives another meaning to memcpy, which is a function"
        #expect(violations("include/string.h", prototype + macro, from: prototype) == ["include/string.h: \(what) (line 2)"])
        #expect(violations("include/a.h", "static inline int one(void) { return 1; }\n#define one() 2\n").count == 1)
        let files: [ChangedFile] = [
            .made("include/more.h", to: macro),
            .made("include/string.h", from: prototype, to: "#include \"more.h\"\n" + prototype),
        ]
        #expect(DisguiseRule().violations(in: Change(files: files)) == ["include/more.h: \(what) (line 1)"])
        #expect(violations("include/string.h", macro + "#define ONE(a) one(a)\nint one(int a);\n") == [])
        #expect(violations("lib/string.c", prototype + macro) == [])
    }

    /// People write their names, other languages and emoji, and some editors mark a file as UTF-8.
    @Test func honestLetters() {
        let text = "\u{feff}/* größer, 日本語, e\u{301} \u{1f469}\u{200d}\u{1f680} „so“, \u{a0} */\nchar *a = \"größer\";\n"
        #expect(violations("lib/a.c", text) == [])
        #expect(violations("boot/a.asm", "\u{feff}; größer \u{200d}\ndb 'größer'\n") == [])
        // It hides no directive.
        #expect(violations("lib/a.c", "\u{feff}#include \"a.c\"\n") == ["lib/a.c: includes what is no header: a.c (line 1)"])
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
