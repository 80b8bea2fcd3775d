import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct WeakenedTestsRuleTests {
    private static let base = """
        #include "harness.h"

        #define TIMES 100
        static const int odd[] = { 1, 3, 5 };

        static int twice(int a)
        {
        \treturn 2 * a;
        }

        static void check(int a)
        {
        \tKASSERT(a);
        }

        KTEST(mm, one)
        {
        \tint a = 1;

        \tKASSERT(a);
        \tKASSERT_EQ(a, 1);
        \tfor (int i = 0; i < TIMES; i++) {
        \t\tKASSERT_EQ(twice(i), i + i);
        \t\tcheck(odd[i % 3]);
        \t}
        }

        KTEST(mm, two)
        {
        \tKASSERT_STREQ("a", "a");
        }

        KBENCH(mm, sums)
        {
        \tuint64_t sum = 0;

        \tfor (uint64_t i = 0; i < n; i++)
        \t\tsum += i;
        }

        """

    private func violations(_ files: ChangedFile...) -> [String] { WeakenedTestsRule().violations(in: Change(files: files)) }

    /// `base` in a file of tests with a part of it changed.
    private func edited(_ old: String, _ new: String, path: String = "tests/mm.c") -> [String] {
        precondition(Self.base.contains(old))
        return violations(.made(path, from: Self.base, to: Self.base.replacing(old, with: new)))
    }

    @Test func addingAtTheEndIsFree() {
        let more = """
            /* More,
             * of it. */
            #include "mm.h"
            static int helper(void) { return 1; }
            KTEST(mm, three)
            {
            \tif (!harness_present())
            \t\treturn;
            \t__asm__ volatile("int3");
            \tKASSERT(helper());
            }

            """
        #expect(violations(.made("tests/mm.c", from: Self.base, to: Self.base + "\n" + more)) == [])
        #expect(violations(.made("tests/mm.c", from: Self.base, to: more + Self.base)) != [])
        #expect(violations(.made("tests/new.c", to: "KTEST(a, b) { KSKIP(\"x\"); }\n")) == [])
        #expect(violations(.made("tests/mm/a.asm", from: "a:\n\tret", to: "a:\n\tret\nb:\n\tret\n")) == [])
        #expect(violations(.made("tests/mm/a.asm", from: "a:\n\tret", to: "a:\n\tret\n\tnop, 1")) == [])
        #expect(violations(.made("tests/mm/a.asm", from: "a:\n\tret", to: "a:\n\tret 4\n")).count == 1)
        #expect(violations(.made("tests/README.md", from: "a\n", to: "b\n")) == [])
    }

    /// What is added at the end has no word in what was there.
    @Test(arguments: [
        "__asm__(\".set memcmp, right\");\n", "int twice(int) __asm__(\"right\");\n",
        "extern int f(int) __attribute__((alias(\"right\")));\n", "static int x asm(\"y\") = 1;\n",
        "extern int f(int) __attribute__((__alias__(\"right\")));\n",
    ])
    func renamedAtTheEnd(more: String) {
        let found = violations(.made("tests/mm.c", from: Self.base, to: Self.base + more))
        #expect(found == ["tests/mm.c: assembly outside of a function could change what the tests before it call (line 40)"])
    }

    /// Calls above it could become calls of it.
    @Test func definedAtTheEnd() {
        let more = "extern inline int twice(int a) { return a + a; }\n"
        #expect(
            violations(.made("tests/mm.c", from: Self.base, to: Self.base + more))
                == ["tests/mm.c: twice is defined after tests that have the name (line 40)"])
        #expect(
            violations(.made("tests/mm.c", from: Self.base, to: Self.base + "static int thrice(int a) { return 3 * a; }\n")) == []
        )
    }

    @Test func layoutAndCommentsAreFree() {
        for path in ["tests/mm.c", "mm/a.c"] {
            #expect(edited("\tKASSERT(a);\n", "\n\t\tKASSERT( a )  ; /* why */ // what\n", path: path) == [])
            #expect(edited("KTEST(mm, two)\n{", "KTEST( mm,two ) {", path: path) == [])
            #expect(edited("#define TIMES 100", "# define  TIMES /* many */ 100", path: path) == [])
            #expect(edited("#include", "\u{feff}#include", path: path) == [])
        }
    }

    @Test func whatTestsIncludeDoesNotGrow() {
        let header = "#pragma once\n#define A 1\n"
        #expect(violations(.made("tests/mm.h", from: header, to: "/* . */\n" + header)) == [])
        #expect(
            violations(.made("tests/mm.h", from: header, to: header + "#define twice(a) (2 * (a))\n")) == [
                "tests/mm.h: \(WeakenedTestsRule.advice) (line 3 is new in what tests include)"
            ])
    }

    @Test func elsewhereOnlyTheTestsCount() {
        let kernel = Self.base + "int mm_twice(int a)\n{\n\treturn TIMES + twice(a) + odd[0];\n}\n"
        let edited = { (old: String, new: String) in
            violations(.made("mm/a.c", from: kernel, to: kernel.replacing(old, with: new)))
        }
        #expect(edited("return 2 * a;", "return a + a;") == [])
        #expect(edited("TIMES 100", "TIMES 10") == [])
        #expect(edited("KTEST(mm, one)", "static int more(int a)\n{\n\treturn a;\n}\n\nKTEST(mm, one)") == [])
        #expect(edited("{ 1, 3, 5 }", "{ 1, 3 }") == [])
        #expect(edited("KASSERT_EQ(a, 1);", "KASSERT_EQ(a, a);").count == 1)
        #expect(
            edited("KTEST(mm, one)", "#define twice(a) (2 * (a))\nKTEST(mm, one)") == [
                "mm/a.c: gives another meaning to twice, which tests use (line 16)"
            ])
        // Of what it has only tests use check().
        #expect(
            edited("\tKASSERT(a);\n}", "\t(void)a;\n}") == [
                "mm/a.c: \(WeakenedTestsRule.advice) (check, which only tests use, is changed, or gone, line 11)"
            ])
        #expect(
            edited("uint64_t sum = 0;", "uint64_t sum = 1;") == [
                "mm/a.c: \(WeakenedTestsRule.advice) (the benchmark mm.sums is changed, or gone, line 33)"
            ])
        #expect(violations(.made("mm/b.c", from: "int a;\n", to: nil)) == [])
        #expect(
            violations(.made("mm/b.c", from: "KFIGURE(mm, all)\n{\n\treturn 1;\n}\n", to: "")) == [
                "mm/b.c: \(WeakenedTestsRule.advice) (the figure mm.all is changed, or gone, line 1)"
            ])
    }

    @Test func aFileGoes() {
        #expect(
            violations(.made("tests/mm.c", from: Self.base, to: nil)) == [
                "tests/mm.c: \(WeakenedTestsRule.advice) (the file is gone)"
            ])
        var link = ChangedFile.made("tests/mm.c", from: Self.base, to: "x")
        (link.status, link.newMode) = (.typeChanged, 0o120000)
        #expect(violations(link) == ["tests/mm.c: a file of tests is replaced by something else"])
    }

    /// As a whole, to where make builds it.
    @Test func aFileMoves() {
        let gone = ChangedFile.made("tests/mm.c", from: Self.base, to: nil)
        for path in ["tests/new.c", "tests/mm/frames.c"] {
            #expect(violations(gone, .made(path, to: Self.base + "KTEST(mm, three)\n{\n}\n")) == [])
            #expect(violations(gone, .made(path, to: Self.base.replacing("(a, 1)", with: "(a, a)"))).count == 1)
        }
        for path in ["tests/a/b/mm.c", "tests/mm.h", "tests/mm.C", "other/mm.c", "boot/disk/mm.c", "mm.c", "tests/mm.asm"] {
            #expect(violations(gone, .made(path, to: Self.base)).count == 1, "\(path)")
        }
        #expect(
            violations(gone, .made("tests/a/b/mm.c", to: Self.base)) == [
                "tests/mm.c: \(WeakenedTestsRule.advice) (the file is moved to tests/a/b/mm.c, where it is not built as it was)"
            ])
        // It would include another header than before.
        #expect(
            violations(gone, .made("tests/mm/mm.c", to: Self.base), .made("tests/mm/harness.h", to: "#pragma once\n")).count == 1)
        #expect(
            violations(gone, .made("tests/mm/mm.c", to: Self.base), .made("tests/harness.h", from: "", to: "")).count == 1)
    }

    /// In the kernel's own files.
    @Test func aTestMoves() {
        let test = "KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n}\n"
        let rest = ChangedFile.made("mm/a.c", from: Self.base, to: Self.base.replacing(test, with: ""))
        #expect(violations(rest, .made("tests/two.c", to: "#include \"harness.h\"\n" + test)) == [])
        #expect(violations(rest, .made("tests/two.c", to: "#if 0\n" + test + "#endif\n")).count == 1)
        #expect(violations(rest, .made("tests/two.c", to: test.replacing("\"a\", \"a\"", with: "x, x"))).count == 1)
        #expect(violations(rest, .made("tests/a/b/two.c", to: test)).count == 1)
        #expect(violations(rest) == ["mm/a.c: \(WeakenedTestsRule.advice) (the test mm.two is changed, or gone, line 28)"])
    }

    @Test(arguments: [
        "static void two(void)", "KTEST(mm, three)", "// KTEST(mm, two)", "/* KTEST(mm, two) */ void two(void)",
        "MYTEST(mm, two)", "KTEST_(mm, two)",
    ])
    func aTestIsNoTestAnyMore(head: String) {
        #expect(edited("KTEST(mm, two)", head).first?.hasPrefix("tests/mm.c: \(WeakenedTestsRule.advice) (line ") == true)
        #expect(edited("KTEST(mm, two)", head, path: "mm/a.c").contains { $0.contains("the test mm.two is changed, or gone") })
    }

    @Test func aTestIsCommentedOut() {
        for path in ["tests/mm.c", "mm/a.c"] {
            for head in [
                "/*\nKTEST(mm, two)", "// \\\nKTEST(mm, two)", "static char *x = \"\\\nKTEST(mm, two)", "F(\nKTEST(mm, two)",
            ] {
                #expect(edited("KTEST(mm, two)", head, path: path) != [], "\(path): \(head)")
            }
        }
    }

    @Test(arguments: [
        "", "\t// KASSERT_EQ(a, 1);\n", "\t/* KASSERT_EQ(a, 1); */\n", "\t(void)\"KASSERT_EQ(a, 1)\";\n", "\tKASSERT(1);\n",
        "\tKASSERT_EQ(1, 1);\n", "\tKASSERT_EQ(a, a);\n", "\tKASSERT_EQ(a, 2);\n", "\tKASSERT(a == 1 || 1);\n",
        "\tKASSERT_EQ(a, 1 + 0 * b);\n",
        "\tif (a) KASSERT_EQ(a, 1);\n", "\tif (0)\n\t\tKASSERT_EQ(a, 1);\n", "\tif (a) {\n\t\tKASSERT_EQ(a, 1);\n\t}\n",
        "\twhile (0)\n\t\tKASSERT_EQ(a, 1);\n",
        "\tfor (;0;) { KASSERT_EQ(a, 1); }\n", "\tswitch (a) { case 7: KASSERT_EQ(a, 1); }\n",
        "#if 0\n\tKASSERT_EQ(a, 1);\n#endif\n",
        "#ifdef SLOW\n\tKASSERT_EQ(a, 1);\n#endif\n", "\tsizeof(({ KASSERT_EQ(a, 1); 0; }));\n",
        "\t(void)(0 && check2(KASSERT_EQ(a, 1)));\n",
        "\treturn;\n\tKASSERT_EQ(a, 1);\n", "\tif (a) return;\n\tKASSERT_EQ(a, 1);\n", "\tgoto end;\n\tKASSERT_EQ(a, 1);\n",
        "\tKSKIP(\"slow\");\n\tKASSERT_EQ(a, 1);\n", "\tktest_skip(\"slow\"); return;\n\tKASSERT_EQ(a, 1);\n",
        "\tharness_exit(0x10);\n\tKASSERT_EQ(a, 1);\n",
        "\ta = 1;\n\tKASSERT_EQ(a, 1);\n", "\tdo {\n\t\tKASSERT_EQ(a, 1);\n\t} while (0);\n",
        "\t%:if 0\n\tKASSERT_EQ(a, 1);\n\t%:endif\n",
        "\tauto void f(void);\n\tvoid f(void) { KASSERT_EQ(a, 1); }\n",
    ])
    func anAssertion(new: String) {
        #expect(edited("\tKASSERT_EQ(a, 1);\n", new) != [])
        #expect(edited("\tKASSERT_EQ(a, 1);\n", new, path: "mm/a.c") != [])
    }

    @Test(arguments: [
        ("i < TIMES", "i < 0"), ("i < TIMES", "i < 1"), ("TIMES 100", "TIMES 0"), ("{ 1, 3, 5 }", "{ 1 }"),
        ("{ 1, 3, 5 }", "{ 1, 1, 1 }"),
        ("int i = 0", "int i = TIMES"), ("i++) {", "i++) {\n\t\tif (i) break;"), ("i++) {", "i++) {\n\t\tcontinue;"),
        ("return 2 * a;", "return a + a;"), ("return 2 * a;", "return 0;\n\treturn 2 * a;"),
        ("static void check(int a)\n{", "static void check(int a)\n{\n\treturn;"),
        ("static void check(int a)\n{\n\tKASSERT(a);", "static void check(int a)\n{\n\t(void)a;"), ("int a = 1;", "int a = 2;"),
        ("#define TIMES", "#define KASSERT_EQ(a, b)\n#define TIMES"), ("#define TIMES", "#define check(a)\n#define TIMES"),
        ("#define TIMES", "#undef KASSERT\n#define TIMES"), ("KTEST(mm, one)", "#if 0\nKTEST(mm, one)"),
        ("KTEST(mm, one)", "  # ifdef SLOW\nKTEST(mm, one)"),
        ("i++) {", "i++) {\n\t\tif (i > 0) x_stop();"), ("i++) {", "i++) {\n\t\ti = TIMES;"),
        ("i++) {", "i++) {\n\t\t((unsigned *)&i)[0] |= 63;"), ("odd[i % 3]);\n", "odd[i % 3]);\n\t\treturn;\n"),
        ("\treturn 2 * a;", "\ta = 0;\n\treturn 2 * a;"), ("int a = 1;", "int a = 1;\n\tint (*twice)(int) = right;"),
        ("\tKASSERT(a);\n\tKASSERT_EQ", "\tSTRING_BEGIN;\n\tKASSERT(a);\n\tKASSERT_EQ"),
        ("\tfor (int", "\tmemset(&a, 0, 4);\n\tfor (int"),
        ("#include \"harness.h\"", "#include \"harness.h\"\n#include \"note.h\""), ("{ 1, 3, 5 }", "{ 1, 3, 5, [0 ... 2] = 1 }"),
        ("\"a\", \"a\"", "L\"a\", \"a\""), ("\tuint64_t sum = 0;", "\tn = 1;\n\tuint64_t sum = 0;"),
        ("#define TIMES 100", "#define TIMES(a) 100"),
        ("KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n", "KTEST(mm, two)\n{\n"), ("\"a\", \"a\"", "\"a\", \"a\" \"\\0b\""),
    ])
    func whatItStandsOn(old: String, new: String) {
        #expect(edited(old, new) != [])
    }

    /// What only tests use in a file of the kernel's is theirs; what the kernel uses too may change, but not for them alone.
    @Test(arguments: [
        ("#define ROUNDS BASE", "#define ROUNDS 0", "the macro ROUNDS, which only tests use, is changed, or gone"),
        ("#define BASE 100", "#define BASE 0", "the macro BASE, which only tests use, is changed, or gone"),
        (
            "#define BASE 100", "#if 0\n#define BASE 100\n#else\n#define BASE 0\n#endif",
            "the macro BASE, which only tests use, is changed, or gone"
        ),
        ("KTEST", "#undef ROUNDS\n#define ROUNDS 0\nKTEST", "gives another meaning to ROUNDS"),
        ("KTEST", "#undef BATCH\n#define BATCH 0\nKTEST", "gives another meaning to BATCH"),
        ("FIRST = 3", "FIRST = 2", "which only tests use, is changed, or gone"),
        ("int a, b;", "int a;", "probe, which only tests use, is changed, or gone"),
        ("typedef int wanted", "typedef char wanted", "wanted, which only tests use, is changed, or gone"),
        ("BATCH 8", "BATCH 16", ""), ("USED = 4", "USED = 5", ""), ("OTHER 7", "OTHER 8", ""),
    ])
    func ofTheKernelsOwnFile(old: String, new: String, why: String) {
        let text = """
            #define BATCH 8
            #define BASE 100
            #define ROUNDS BASE
            #define OTHER 7
            enum { FIRST = 3, SECOND };
            enum used { USED = 4 };
            struct probe { int a, b; };
            typedef int wanted;
            int batch(void) { return BATCH + OTHER + USED; }
            KTEST(mm, one)
            {
            \tstruct probe p = { USED, SECOND };
            \tfor (wanted i = 0; i < ROUNDS; i++)
            \t\tKASSERT(batch() > BATCH + p.a);
            }
            """
        let found = violations(.made("mm/a.c", from: text, to: text.replacing(old, with: new, maxReplacements: 1)))
        #expect(why.isEmpty ? found == [] : found.contains { $0.contains(why) }, "\(found)")
    }

    /// What asserts in a header is there for tests of other files; what they call besides is the kernel's.
    @Test func ofAHeader() {
        let text =
            "#define EXPECT(x) KASSERT(x)\nstatic inline void same(int a) { KASSERT_EQ(a, 1); }\nstatic inline int both(int a, int b) { return a && b; }\n"
        let edited = { (old: String, new: String) in
            violations(.made("include/a.h", from: text, to: text.replacing(old, with: new)))
        }
        #expect(edited("KASSERT(x)", "(void)(x)").first?.contains("the macro EXPECT, which only tests use, is changed") == true)
        #expect(edited("(a, 1)", "(a, a)").first?.contains("same, which only tests use, is changed") == true)
        #expect(edited("&&", "||") == [])
    }

    @Test func aValueForWhatWasDeclared() {
        let text = "static int want, table[2];\nKTEST(a, b)\n{\n\tKASSERT_EQ(f(), want + table[0]);\n}\n"
        for added in ["static int want = 3;", "static int other, want = 3;", "static int table[2] = { 1, 2 };"] {
            let found = violations(.made("tests/a.c", from: text, to: text + added + "\n"))
            #expect(found.first?.contains("defined after tests that have the name") == true, "\(added): \(found)")
        }
        #expect(violations(.made("tests/a.c", from: text, to: text + "static int more = 3;\n")) == [])
    }

    /// "\xff" and "ÿ" are other bytes, though both stand for U+FF.
    @Test func stringsAreComparedAsTheyAreWritten() {
        let old = "KTEST(a, b)\n{\n\tKASSERT(f(\"\\xff\", '\\n'));\n}\n"
        for (from, to) in [("\\xff", "ÿ"), ("\"\\xff\"", "u8\"\\xff\""), ("'\\n'", "L'\\n'"), ("'\\n'", "'\\12'")] {
            let new = old.replacing(from, with: to)
            #expect(violations(.made("tests/a.c", from: old, to: new)).count == 1, "\(to)")
            #expect(violations(.made("mm/a.c", from: old, to: new)).count == 1, "\(to)")
        }
        // Of strings side by side some may be under a condition.
        let joined = "char a[] = \"a\"\n#if 1\n\"b\"\n#endif\n;\n"
        let moved = "char a[] = \"a\" \"b\"\n#if 1\n#endif\n;\n"
        #expect(violations(.made("tests/a.c", from: joined, to: moved)).count == 1)
    }

    @Test func whatIsSaid() {
        #expect(
            edited("\tKASSERT_EQ(a, 1);\n", "") == [
                "tests/mm.c: \(WeakenedTestsRule.advice) (line 21: was `KASSERT_EQ(a, 1);`, is `for (int i = 0; i < TIMES; i++) {`)"
            ])
        #expect(
            edited("TIMES 100", "TIMES 0") == [
                "tests/mm.c: \(WeakenedTestsRule.advice) (line 3: was `#define TIMES 100`, is `#define TIMES 0`)"
            ])
        #expect(
            violations(.made("tests/a.c", from: "int a;\nint b;\n", to: "int a;\n")) == [
                "tests/a.c: \(WeakenedTestsRule.advice) (line 2: was `int b;`, is gone)"
            ])
    }

    @Test func theMakefileKnowsTheSameDirectories() throws {
        let makefile = try Files.readText(Scaffold.kernel.appending("Makefile"))
        let line = makefile.split(separator: "\n").first { $0.hasPrefix("DIRS := ") }
        #expect(line.map { Set($0.split(separator: " ").dropFirst(2).map(String.init)) } == KernelSources.directories)
        #expect(
            makefile.contains(
                "$(filter-out boot/disk/%,$(sort $(foreach d,$(1),$(wildcard $(d)/*.c $(d)/*.asm $(d)/*/*.c $(d)/*/*.asm))))"))
    }

    /// Read through git, as the gate does.
    @Test func throughGit() async throws {
        let ws = try await TestWorkspace(only: ["tests/mm.c": Self.base, "tests/frames/harness.h": "#pragma once\n"])
        let change = try await ws.change(["tests/mm.c": .write(Self.base.replacing("i < TIMES", with: "i < 1"))])
        #expect(WeakenedTestsRule().violations(in: change).count == 1)
        #expect(try await WeakenedTestsRule().violations(in: ws.change(["tests/mm.c": .write(Self.base + "\n")])) == [])
        // A header that the change leaves alone is known too.
        let move = { (place: String) in
            WeakenedTestsRule().violations(in: try await ws.change(["tests/mm.c": .delete, place: .write(Self.base)])).count
        }
        #expect(try await move("tests/frames/mm.c") == 1)
        #expect(try await move("tests/mm/mm.c") == 0)
    }
}
