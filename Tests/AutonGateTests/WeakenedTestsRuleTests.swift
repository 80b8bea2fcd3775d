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

        """

    private func violations(_ files: ChangedFile...) -> [String] { WeakenedTestsRule().violations(in: Change(files: files)) }

    /// `base` in a file of tests with a part of it changed.
    private func edited(_ old: String, _ new: String, path: String = "tests/mm.c") -> [String] {
        precondition(Self.base.contains(old))
        return violations(.made(path, from: Self.base, to: Self.base.replacing(old, with: new)))
    }

    @Test func addingIsFree() {
        let more = """
            /* More,
             * of it. */
            static int helper(void) { return 1; }
            KTEST(mm, three)
            {
            \tif (!harness_present())
            \t\treturn;
            \tKASSERT(1);
            }

            """
        #expect(violations(.made("tests/mm.c", from: Self.base, to: Self.base + "\n" + more)) == [])
        #expect(violations(.made("tests/mm.c", from: Self.base, to: more + Self.base)) == [])
        #expect(violations(.made("tests/new.c", to: "KTEST(a, b) { KSKIP(\"x\"); }\n")) == [])
        #expect(edited("\tKASSERT(a);\n\tKASSERT_EQ", "\tKASSERT(a);\n\tKASSERT(a > 0);\n\tKASSERT_EQ") == [])
        #expect(
            edited("\tint a = 1;\n", "\tint a = 1, b = 2;\n\n\tfor (int i = 0; i < 9; i++)\n\t\tb += i;\n\tKASSERT(b);\n") == [])
        #expect(edited("{ 1, 3, 5 }", "{ 1, 3, 5, 7 }") == [])
        #expect(
            edited("\tKASSERT_STREQ(\"a\", \"a\");\n", "\tKASSERT_STREQ(\"a\", \"a\");\n\tif (x)\n\t\treturn;\n\tKASSERT(y);\n")
                == [])
    }

    @Test func layoutAndCommentsAreFree() {
        #expect(edited("\tKASSERT(a);\n", "\n\t\tKASSERT( a )  ; /* why */ // what\n") == [])
        #expect(edited("KTEST(mm, two)\n{", "KTEST( mm,two ) {") == [])
    }

    @Test func elsewhereOnlyTheTestsCount() {
        #expect(edited("return 2 * a;", "return a + a;", path: "mm/a.c") == [])
        #expect(edited("TIMES 100", "TIMES 10", path: "mm/a.c") == [])
        #expect(edited("KASSERT_EQ(a, 1);", "KASSERT_EQ(a, a);", path: "mm/a.c") != [])
        #expect(violations(.made("mm/b.c", from: "int a;\n", to: nil)) == [])
        #expect(
            violations(.made("mm/b.c", from: Self.base, to: nil)) == [
                "mm/b.c: removes the test mm.one", "mm/b.c: removes the test mm.two",
            ])
    }

    @Test func aFileGoes() {
        #expect(violations(.made("tests/mm.c", from: Self.base, to: nil)) == ["tests/mm.c: a file of tests is deleted"])
        #expect(violations(.made("tests/mm.txt", from: "x", to: nil)) == ["tests/mm.txt: a file of tests is deleted"])
        var link = ChangedFile.made("tests/mm.c", from: Self.base, to: "x")
        (link.status, link.newMode) = (.typeChanged, 0o120000)
        #expect(violations(link) == ["tests/mm.c: a file of tests is replaced by something else"])
    }

    /// It may move to another file as it is, not otherwise.
    @Test func aTestMoves() {
        let test = "KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n}\n"
        let rest = ChangedFile.made("tests/mm.c", from: Self.base, to: Self.base.replacing(test, with: ""))
        #expect(violations(rest, .made("tests/two.c", to: "#include \"harness.h\"\n" + test)) == [])
        #expect(violations(.made("tests/mm.c", from: Self.base, to: nil), .made("tests/new.c", to: Self.base)) == [])
        #expect(violations(rest, .made("tests/two.c", to: test.replacing("\"a\", \"a\"", with: "x, x"))) != [])
        #expect(violations(rest) == ["tests/mm.c: removes the test mm.two"])
    }

    @Test(arguments: [
        "static void two(void)", "KTEST(mm, three)", "// KTEST(mm, two)", "/* KTEST(mm, two) */ void two(void)",
        "MYTEST(mm, two)", "KTEST_(mm, two)",
    ])
    func aTestIsNoTestAnyMore(head: String) {
        #expect(edited("KTEST(mm, two)", head).contains("tests/mm.c: removes the test mm.two"))
    }

    @Test func aTestIsCommentedOut() {
        #expect(edited("KTEST(mm, two)", "/*\nKTEST(mm, two)") == ["tests/mm.c: removes the test mm.two"])
        #expect(edited("KTEST(mm, two)", "// \\\nKTEST(mm, two)").contains("tests/mm.c: removes the test mm.two"))
        #expect(edited("KTEST(mm, two)", "static char *x = \"\\\nKTEST(mm, two)").contains("tests/mm.c: removes the test mm.two"))
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
        ("KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n", "KTEST(mm, two)\n{\n"), ("\"a\", \"a\"", "\"a\", \"a\" \"\\0b\""),
    ])
    func whatItStandsOn(old: String, new: String) {
        #expect(edited(old, new) != [])
    }

    @Test func whatIsSaid() {
        #expect(
            edited("\tKASSERT_EQ(a, 1);\n", "") == [
                "tests/mm.c: mm.one: 1 assertion fewer",
                "tests/mm.c: mm.one: the expectation KASSERT_EQ(a, 1) is changed or gone",
            ])
        #expect(edited("(a, 1)", "(a, 2)") == ["tests/mm.c: mm.one: the expectation KASSERT_EQ(a, 1) is changed or gone"])
        #expect(
            edited("\tKASSERT(a);\n\tKASSERT_EQ", "\tif (a) { KASSERT(a); }\n\tKASSERT_EQ") == [
                "tests/mm.c: mm.one: puts KASSERT(a) under a condition: if (a)"
            ])
        #expect(
            edited("\tKASSERT_EQ(a, 1);\n", "\treturn;\n\tKASSERT_EQ(a, 1);\n") == [
                "tests/mm.c: mm.one: leaves before what was there: return"
            ])
        #expect(
            edited("\tKASSERT_EQ(a, 1);\n", "\tKSKIP(\"x\");\n\tKASSERT_EQ(a, 1);\n") == [
                "tests/mm.c: mm.one: skips what was there: KSKIP(\"x\")"
            ])
        #expect(edited("TIMES 100", "TIMES 0") == ["tests/mm.c: changes the macro TIMES, on which tests stand"])
        #expect(edited("{ 1, 3, 5 }", "{ 1, 5 }") == ["tests/mm.c: odd: what was there is changed or gone: 3"])
        #expect(edited("return 2 * a;", "return 0;") == ["tests/mm.c: twice: what was there is changed or gone: return 2 * a"])
    }

    /// Read through git, as the gate does.
    @Test func throughGit() async throws {
        let ws = try await TestWorkspace(only: ["tests/mm.c": Self.base])
        let change = try await ws.change(["tests/mm.c": .write(Self.base.replacing("i < TIMES", with: "i < 1"))])
        #expect(WeakenedTestsRule().violations(in: change).first?.hasPrefix("tests/mm.c: mm.one: ") == true)
        #expect(try await WeakenedTestsRule().violations(in: ws.change(["tests/mm.c": .write(Self.base + "\n")])) == [])
    }
}
