import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct ReservedRuleTests {
    private func violations(_ path: String, _ text: String, from old: String? = nil) -> [String] {
        ReservedRule().violations(in: .made(path, from: old, to: text + "\n"))
    }

    @Test func whatAnybodyMayWrite() {
        let code = """
            #include "harness.h"
            #define STRING_H
            #define INIT_STACK_SIZE 4096
            #define KASSERT_NEAR(a, b) KASSERT((a) - (b) < 2)
            /* report_text, __start_ktests, #define KASSERT */
            int start_ktests;
            struct stats { int report_count; } stats;
            struct ends { uint8_t report_end, report_char[2]; int report_raw : 3; };
            static void report_usage(void) { kprintf("report_text .auton"); }
            static bool report_errors;
            INIT(INIT_EARLY, probe);
            KTEST(mm, one) { KASSERT(stats.report_count == 1); ktest_note("seed", 1); report_usage(); }
            void panic(const char *why) { harness_panic(why); }
            void ready(void) { init_run(); harness_run(); harness_exit(HARNESS_PASS); }
            """
        #expect(violations("lib/harness.c", code) == [])
        #expect(
            violations(
                "mm/a.c",
                "void f(int a) { __asm__ volatile(\"1:\\tmov %1, %0\\n\\tjne 1b\" : \"=a\"(a), \"+r\"(a), \"=@ccz\"(a)); }") == []
        )
        #expect(violations("mm/a.c", "__asm__(\"# a /= b\");") == [])
        #expect(violations("tests/a.c", "__asm__(\"f:\\tmov 0x600008, %r15\\n\\ttest $1, %r13d\\n\\tret\");") == [])
        for text in [
            "mov $%c1, %0", "mov %%gs:%c1, %k0", "movb %b0, (%q[to])", "jz .L%=\\n%1:", "rep; nop; 1: lock; xchg %0, %1",
        ] {
            #expect(violations("mm/a.c", "void f(void) { __asm__ volatile(\"\(text)\"); }") == [])
        }
        #expect(violations("boot/a.asm", "; incbin \\\nincbin\n%include \"a.inc\"\ndb 'KTAP', 7, 'version 1'\n\tinc rax\n") == [])
        #expect(violations("boot/a.asm", "; report_text\nextern kernel_main, harness_panic\n\tcall harness_panic\n") == [])
        #expect(
            violations("tests/a.c", "static int check(int a) { if (!a) ktest_fail(__FILE__, __LINE__, \"a\"); return a; }") == [])
    }

    /// What comes of an operand no rule reads.
    @Test(arguments: [
        ".inc%P0 \\\"/etc/passwd\\\"", "%P[f] = mine", "nop; %P0 name, value", "nop\\n\\t.s%P0 name, value",
        "mov $__start_%P1, %0", "call rep%P0",
        "call %P0_text", "mov $%c0a, %1",
    ])
    func namesOfOperands(text: String) {
        let found = violations("mm/a.c", "void f(void) { __asm__ volatile(\"\(text)\" : : \"i\"(g)); }")
        #expect(found.first?.contains("makes a name, or an instruction, of an operand") == true, "\(found)")
    }

    @Test(arguments: [
        "#ifdef __bool_true_false_are_defined\n#endif", "#if defined(NULL)\n#endif", "#if UINT8_MAX\n#endif",
        "#ifndef _STDDEF_H\n#endif",
        "#ifdef HARNESS_READ\n#endif", "#if !defined(KERNEL_VIRT_BASE)\n#endif",
        "#define IS_TEST (__FILE__[0] == 't')", "#define IN_TEST (__func__[0] == 'k')",
    ])
    func whoIncludesIt(code: String) {
        #expect(violations("include/a.h", code).first?.contains("asks who includes it") == true)
    }

    @Test(arguments: [
        ("include/a.h", "#define ktest_mm__sorted(none) sorted(none)", "redefines ktest_mm__sorted of the harness"),
        ("lib/a.c", "void *t(void) { return ktest_mm__sorted; }", "names a test: ktest_mm__sorted"),
        (
            "lib/a.c", "bool t(const char *name) { return strncmp(name, \"ktest_\", 6) == 0; }",
            "asks for tests by their names: \"ktest_\""
        ),
        (
            "lib/a.c", "#define A \"ktest_fa\"\n#define B \"il\"\nint a(void) __asm__(A B);",
            "has the parts of a name of the harness's: ktest_fa, il"
        ),
        ("lib/a.c", "int a = JOIN(report_, raw);", "joins words to report_raw of the harness"),
        (
            "lib/a.c", "#define J(x) we##x\nint a __attribute__((J(ak)));\nint we;",
            "has the parts of a name of the harness's: we, ak"
        ),
        (
            "lib/a.c", "#define ASM(text) __asm__ volatile(text)\nvoid f(void) { ASM(\".set ktest_fail, f\"); }",
            "names ktest_fail of the harness in assembly"
        ),
        (
            "lib/a.c", "#define A(t) __asm__(t)\n#define B(t) A(t)\nvoid f(void) { B(\"call report_end\"); }",
            "names report_end of the harness in assembly"
        ),
        ("lib/a.c", "static int a __attribute__((section(A B), used));", "has a section that a macro names: A"),
        ("include/a.h", "#define NONE \".set memcmp, none\"", "has .set as a string, which a macro could hand to the assembler"),
    ])
    func whatIsMadeOfPartsOrNamesTests(path: String, code: String, what: String) {
        let found = violations(path, code + "\n")
        #expect(found.contains { $0.hasPrefix("\(path): \(what)") }, "\(found)")
    }

    /// Code may tell its function's name; a macro would tell that of who uses it.
    @Test func aFunctionsOwnName() {
        let code = "static inline void f(void) { log(\"%s %s\", __func__, __FUNCTION__); }\n"
        #expect(violations("include/a.h", code) == [])
        #expect(violations("mm/a.c", "#define LOG() log(__func__)\n" + code).count == 1)
    }

    /// Tests read registers so, and ask who called.
    @Test func whatTestsDoByMacrosOfTheirOwn() {
        let code = """
            #define READ(code) ({ uint64_t value_; __asm__ volatile(code : "=r"(value_) : : "memory"); value_; })
            static uint64_t cr3(void) { return READ("mov %%cr3, %0"); }
            KTEST(mm, callers) { KASSERT(caller() == (uint64_t)ktest_mm__callers); }
            """
        #expect(violations("tests/mm_a.c", code) == [])
    }

    @Test(arguments: [
        ("mm/a.c", #"__asm__(".section .symtab,\"\",@progbits\n\t.text");"#, ".symtab"),
        ("mm/a.c", #"static int a[6] __attribute__((section(".strtab"), used));"#, ".strtab"),
        ("boot/a.asm", "[section .shstrtab progbits]", ".shstrtab"), ("boot/a.asm", "\tSEGMENT .symtab", ".symtab"),
    ])
    func sectionsOfTheLinker(path: String, code: String, section: String) {
        #expect(violations(path, code) == ["\(path): names a section that is the linker's: \(section) (line 1)"])
    }

    /// Who reads an image asks for them.
    @Test func whoReadsAnImage() {
        #expect(violations("boot/a.c", "bool f(const char *name) { return streq(name, \".symtab\"); }") == [])
        #expect(violations("boot/a.asm", "name: db '.strtab', 0\n.symtab:\n\tjmp .symtab\n") == [])
    }

    @Test func macrosOfTheHeadersAreKnown() throws {
        var found: Set<String> = []
        for directory in ["harness", "acceptance", "acceptance/boot", "acceptance/mm", "acceptance/sched"] {
            let place = Scaffold.package.appending("kernel/\(directory)")
            for name in try Files.list(place) where name.hasSuffix(".h") {
                let source = CSource(try Files.read(place.appending(name)))
                found.formUnion(source.directives.filter { $0.name == "define" }.compactMap(\.words.first?.text))
            }
        }
        #expect(found.filter { !HarnessNames.macrosOfHeaders.contains($0) && !HarnessNames.isReserved($0) } == [])
        #expect(HarnessNames.macrosOfHeaders.subtracting(found) == [])
    }

    @Test func whatWouldNotBeBuiltAnew() {
        #expect(violations("lib/a.c", "#if __has_include(\"a.h\")\n#endif").first?.contains("asks which files there are") == true)
    }

    @Test func whatNasmWrites() {
        #expect(
            violations("boot/a.asm", "[map acceptance/boot.console]\n").first?.contains("lets the assembler write a file") == true
        )
    }

    @Test(arguments: ["include/internal.h", "include/harness.h", "lib/internal.h", "drivers/Harness.h"])
    func aHeaderInTheHarnesssPlace(path: String) {
        #expect(violations(path, "") == ["\(path): has the name of a header of the harness"])
    }

    /// An include in quotes looks beside the file that it is in first.
    @Test(arguments: ["tests/string.h", "lib/string.h", "tests/a/string.h", "include/a/string.h", "string.h", "tests/ipc/msg.h"])
    func aHeaderInAnothersPlace(path: String) {
        let others: [ChangedFile] = [.made("include/string.h", from: "", to: " "), .made("include/ipc/msg.h", from: "", to: " ")]
        let found = ReservedRule().violations(in: Change(files: others + [.made(path, to: "#pragma once\n")]))
        let name = path.hasSuffix("msg.h") ? "include/ipc/msg.h" : "include/string.h"
        #expect(found == ["\(path): would be included in place of \(name)"])
    }

    @Test func aHeaderOfItsOwn() async throws {
        let ws = try await TestWorkspace(only: ["include/string.h": "", "include/ipc/msg.h": "", "harness/mem.c": ""])
        let change = try await ws.change([
            "include/msg.h": .write("int a;\n"), "tests/mystring.h": .write("int a;\n"), "mm/mem.c": .write("int a;\n"),
        ])
        #expect(ReservedRule().violations(in: change) == [])
        // One that the change leaves alone is known too.
        let other = try await ws.change(["tests/string.h": .write("int a;\n")])
        #expect(ReservedRule().violations(in: other) == ["tests/string.h: would be included in place of include/string.h"])
    }

    @Test func aHeaderInTheCompilersPlace() {
        #expect(violations("include/stdbool.h", "").count == 1)
        #expect(violations("include/sys/stdint.h", "").count == 1)
    }

    @Test(arguments: [
        ("#define KASSERT(c)", "KASSERT"), (" # undef KASSERT_EQ", "KASSERT_EQ"),
        ("#define KTEST(a, b) static void f(void)", "KTEST"),
        ("#undef INIT", "INIT"), ("%:define KASSERT(c)", "KASSERT"), ("#def\\\nine KSKIP(x)", "KSKIP"),
        ("/* a */ # /* b */ define /* c\n*/ KASSERT(c)", "KASSERT"), ("#define KASS\\\nERT(c)", "KASSERT"),
        ("#define harness_run my_run", "harness_run"), ("#define ktest_fail(a, b, c)", "ktest_fail"),
        ("#define AUTON_HARNESS_H", "AUTON_HARNESS_H"),
    ])
    func redefinedMacros(code: String, name: String) {
        #expect(
            violations("include/string.h", code).first?.hasPrefix("include/string.h: redefines \(name) of the harness (line ")
                == true)
    }

    /// However a name is put together.
    @Test(arguments: [
        "void f(void) { report_text(\"ok 1\"); }", "extern void report_raw(const char *);", "void *p = (void *)report_char;",
        "void f(void) { fw_cfg_string(\"x\", b, 1); }", "void report_line(const char *); void f(void) { report_line(\"ok\"); }",
        "void f(void) { harness_outb(1, 2); }", "void f(void) { ktest_fail(\"a\", 1, \"b\"); }",
        "void f(void) { ktest_skip(\"a\"); }",
        "void f(void) { report_\\\ntext(\"ok\"); }", "#define SAY report_text", "#define SAY(x) report_##x",
        "#define CAT(a, b) a##b\nvoid f(void) { CAT(report_, text)(\"ok\"); }",
        "#define CAT(a, b) a %:%: b\nvoid f(void) { CAT(rep, ort_raw)(\"ok\"); }",
        "#define X re##port##_text", "void f(void) { CAT3(k, test, _fail)(); }",
        "extern void emit(const char *) __asm__(\"report_text\");",
        "extern void emit(const char *) asm(\"report\" \"_text\");", "extern void emit(const char *) __asm(\"\\162eport_text\");",
        "__asm__(\"call report_text\");", "void f(void) { __asm__ volatile(\"call %P0\" : : \"i\"(report_raw)); }",
        "__asm__(\".globl harness_run\\nharness_run: ret\");", "__asm__(\".set ktest_fail, nothing\");",
        "void nothing(void) __attribute__((weak, alias(\"ktest_fail\")));", "_Pragma(\"weak ktest_fail = nothing\")",
        "#define NAME \"report_text\"", "void ktest_fail(const char *f, int l, const char *e) { }",
        "void harness_run(void) { for (;;); }",
        "void (harness_panic)(const char *why) { for (;;); }", "extern const struct ktest *__start_ktests[];",
        "extern char __stop_kbenches[];", "__attribute__((section(\".auton.ktests\"), used)) static void *mine;",
        "__attribute__((section(\".au\" \"ton.ktests\"))) static void *mine;",
        "#define S(x) __attribute__((section(x)))\nS(\".auton.inits\") int a;",
        "__asm__(\".section .auton.ktests\");", "__asm__(\".pushsection \\\".auton.ktests\\\", \\\"aw\\\"\");",
        "HARNESS_ENTRY(\"x\") int a;",
        "static const struct ktest mine = { \"mm\", \"one\", run };", "extern const void *ktest_entry_mm__one;",
        "#include \"internal.h\"", "#include \"../harness/internal.h\"", "#include <../harness/harness.h>",
        "#include \"../acceptance/boot.h\"",
        "const char *a = \"opt/auton/nonce\";", "void f(void) { puts(\"KTAP version 1\"); }",
        "void f(void) { kprintf(\"# auton end %s\", n); }",
        "__asm__(\".inc\" \"bin \\\"x\\\"\");", "__asm__(\".INCBIN \\\"x\\\"\");", "__asm__(\"a: .macro i x\\n.endm\");",
        "__asm__(\".altmacro\");", "__asm__(\".irp x, 1\");", "__asm__(\".irpc x, 1\");",
        "__asm__(\".inc\\\\x \\\"/etc/passwd\\\"\");", "#define READ \".incbin \\\"x\\\"\"",
        "int a __attribute__((section(\".rodata\\n.incbin \\\"x\\\"\\n#\")));", "__asm__(\".set memcmp, mine\");",
        "__asm__(\".weak mine\");", "void f(void) { __asm__ volatile(\".inc{bin|} \\\"x\\\"\" : :); }",
        "#define TEXT(x) #x\n__asm__(TEXT(.incbin) \" \\\"x\\\"\");", "__asm__(TEXT(nop; .set) \" memcmp, mine\");",
        "__asm__(TEXT(.inc) TEXT(bin));", "__asm__(\"nop\\n.inc\" TEXT(bin) \" 'x'\");",
        "__asm__(\"nop; .\" TEXT(set) \" a, b\");",
        "__asm__(\"memcmp = mine\");", "void f(void) { __asm__ volatile(\"memcmp == mine\"); }",
        "__asm__(\"memcmp /* */ = mine\");", "__asm__(\"nop; \\\"memcmp\\\"=mine\");",
        "void f(void) { __asm__ volatile(\".weakref a, b\"); }",
        "struct a { int (*b)(void); } c = { report_end };", "struct a *f(void) { report_end; }",
        "struct { int a[report_end]; } b;",
        "__asm__(\".incbin \\\"/etc/passwd\\\"\");", "__asm__(\".include \\\"x\\\"\");", "#pragma weak harness_exit",
        "#ifdef AUTON_HARNESS_H\nint a;\n#endif", "#if 1 && !defined(KTEST)\nint a;\n#endif",
        "#if 0\n#elif defined KASSERT\nint a;\n#endif",
        "static inline int f(void) { return __BASE_FILE__[0]; }", "#if __INCLUDE_LEVEL__ > 1\nint a;\n#endif",
    ])
    func namesOfTheHarness(code: String) {
        #expect(violations("mm/a.c", code) != [])
    }

    @Test(arguments: [
        "extern report_text", "\tcall report_text", "global ktest_fail\nktest_fail:\n\tret", "harness_run:\n\tret",
        "%define SAY report_raw",
        "%define SAY report_ %+ text", "extern $report_text", "%deftok SAY \"report_text\"", "section .auton.ktests",
        "\tsection \".auton.ktests\" write", "extern __start_ktests", "db \"KTAP version 1\"", "incbin \"/etc/passwd\"",
        "%include \"../harness/stub.asm\"", "\tcall \\\nreport_text", "%define CAT(a,b) a %+ b\n\tcall CAT(report_,text)",
        "%define harness_run x",
        "label: incbin \"x\"", "l incbin \"x\"", "times 1 INCBIN \"x\"", "%define X incbin", "\tincb\\\nin \"x\"",
        "inc\\\r\nbin \"x\"",
        "%define X inc %+ bin", "%deftok X \"incbin\"", "%tok(%strcat('inc', 'bin')) 'x'", "q inc, bin", "; a \\ \nincbin \"x\"",
        "%define F \"x\"\n%include F", "%inc\\\nlude \"/etc/passwd\"", "%include \"../../etc/passwd\"",
        "%include \"lib/data.txt\"", "%deftok word text", "%depend \"/etc/passwd\"",
        "db 'KTAP ', 'version 1'", "db \"KTAP\", 0x20, `version 1`", "dw 'KT', 'AP', ' v', 'er', 'si', 'on'",
        "db 'opt/',97,'uton/nonce'", "section %Tok('text')", "common %[%{tok}('a')] 8",
    ])
    func namesInAssembly(code: String) {
        #expect(violations("boot/a.asm", code) != [])
    }

    /// What is left out is nobody's own.
    @Test func ownNamesThatAreNotThere() {
        let own = "static void report_usage(void) { }\n", call = "void f(void) { report_usage(); }"
        #expect(violations("lib/a.c", own + call) == [])
        #expect(violations("lib/a.c", "#if 0\n" + own + "#endif\n" + call).count == 2)
        #expect(violations("lib/a.c", "static\n#if 0\nvoid report_usage(void) { }\n#endif\nint a;\n" + call).count == 2)
    }

    @Test func whereAndWhat() {
        #expect(
            violations("lib/a.c", "int a;\nvoid f(void) { report_end(); }") == [
                "lib/a.c: uses what is private to the harness: report_end (line 2)"
            ])
        #expect(
            violations("lib/a.c", "extern char __start_ktests[];") == [
                "lib/a.c: touches the harness's tables: __start_ktests (line 1)"
            ])
    }

    @Test func whatIsThereAlreadyIsNotTheChange() {
        let old = "void f(void) { report_end(); }"
        #expect(violations("lib/a.c", "int a;\n" + old, from: old) == [])
        #expect(violations("lib/a.c", old + "\n" + old, from: old).count == 1)
    }

    /// The rule's list is the harness's own.
    @Test func everyPrivateNameIsKnown() throws {
        func declared(in header: String) throws -> Set<String> {
            let source = CSource(try Files.read(Scaffold.kernel.appending("harness/\(header)")))
            return Set(
                source.tokens.filter { $0.kind == .identifier }.map(\.text).filter { name in
                    ["report_", "fw_cfg_", "harness_", "ktest_"].contains(where: name.hasPrefix) && !name.hasSuffix("_")
                })
        }
        for name in try declared(in: "internal.h").subtracting(declared(in: "harness.h")) {
            #expect(HarnessNames.isPrivate(name), "\(name)")
        }
        let makefile = try Files.readText(Scaffold.kernel.appending("Makefile"))
        let names =
            "(__start_|__stop_|report_|fw_cfg_|harness_(addr|mem|bss|init|str|in|out|call|ticks|level|ready|running|result|beside))"
        #expect(makefile.contains("PRIVATE := : \(names)"))
    }
}
