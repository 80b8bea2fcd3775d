import Testing

@testable import AutonGate

@Suite struct WeakenedTestsRuleTests {
    private static let base = """
        #include "harness.h"

        KTEST(mm, one)
        {
        \tint a = 1;

        \tKASSERT(a);
        \tKASSERT_EQ(a, 1);
        }

        KTEST(mm, two)
        {
        \tKASSERT_STREQ("a", "a");
        }

        """

    /// What the rule says of a change from `base`, read through git.
    private func violations(_ edits: [String: TestWorkspace.Edit]) async throws -> [String] {
        let ws = try await TestWorkspace(only: ["tests/mm.c": Self.base, "mm/a.c": "KTEST(x, y)\n"])
        return try await WeakenedTestsRule().violations(in: ws.change(edits))
    }

    private func edited(_ old: String, _ new: String) async throws -> [String] {
        precondition(Self.base.contains(old))
        return try await violations(["tests/mm.c": .write(Self.base.replacing(old, with: new))])
    }

    @Test func addingIsFree() async throws {
        let more = """
            /* More,
             * of it. */
            KTEST(mm, three)
            {
            \tif (!harness_present())
            \t\treturn;
            \tKASSERT(1);
            }

            """
        #expect(
            try await violations([
                "tests/mm.c": .write(Self.base + "\n" + more), "tests/new.c": .write("KTEST(a, b) { KSKIP(\"x\"); }\n"),
            ]) == [])
        #expect(try await edited("\tKASSERT(a);\n", "\tKASSERT(a);\n\tKASSERT(a > 0);\n") == [])
        #expect(try await edited("\tKASSERT(a);\n", "\tKASSERT(a == 1);\n") == [])
    }

    @Test func elsewhereIsFree() async throws {
        #expect(try await violations(["mm/a.c": .delete]) == [])
    }

    @Test func aFileGoes() async throws {
        #expect(try await violations(["tests/mm.c": .delete]) == ["tests/mm.c: a file of tests is deleted"])
        #expect(
            try await violations(["tests/mm.c": .link(to: "x")]) == ["tests/mm.c: a file of tests is replaced by something else"])
    }

    @Test func aTestGoes() async throws {
        #expect(
            try await edited("KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n}\n", "")
                == ["tests/mm.c: removes the test mm.two", "tests/mm.c: removes 1 assertion without replacement"])
        #expect(try await edited("KTEST(mm, two)", "static void two(void)") == ["tests/mm.c: removes the test mm.two"])
        #expect(try await edited("KTEST(mm, two)", "KTEST(mm, three)") == ["tests/mm.c: removes the test mm.two"])
        #expect(try await edited("KTEST(mm, two)", "// KTEST(mm, two)") == ["tests/mm.c: removes the test mm.two"])
    }

    @Test func aTestMoves() async throws {
        let test = "KTEST(mm, two)\n{\n\tKASSERT_STREQ(\"a\", \"a\");\n}\n"
        let moved = try await violations(["tests/mm.c": .write(Self.base.replacing(test, with: "")), "tests/two.c": .write(test)])
        #expect(moved == ["tests/mm.c: removes 1 assertion without replacement"])
    }

    @Test func anAssertionGoes() async throws {
        let lost = ["tests/mm.c: removes 1 assertion without replacement"]
        #expect(try await edited("\tKASSERT(a);\n", "") == lost)
        #expect(try await edited("\tKASSERT(a);\n", "\t// KASSERT(a);\n") == lost)
        #expect(try await edited("\tKASSERT(a);\n", "\t/* KASSERT(a); */\n") == lost)
        #expect(try await edited("\tKASSERT(a);\n", "\t(void)\"KASSERT(a)\";\n") == lost)
    }

    @Test func aTestIsSwitchedOff() async throws {
        #expect(try await edited("\tKASSERT(a);\n", "\tKSKIP(\"slow\");\n\tKASSERT(a);\n") == ["tests/mm.c: skips a test"])
        #expect(
            try await edited("\tKASSERT(a);\n", "\treturn;\n\tKASSERT(a);\n") == ["tests/mm.c: returns early from what was there"]
        )
        #expect(
            try await edited("\tKASSERT(a);\n", "\tif (a) return;\n\tKASSERT(a);\n") == [
                "tests/mm.c: returns early from what was there"
            ])
        #expect(
            try await edited("KTEST(mm, two)", "#if 0\nKTEST(mm, two)") == ["tests/mm.c: puts tests under a condition: #if 0"])
        #expect(
            try await edited("KTEST(mm, two)", "  # ifdef SLOW\nKTEST(mm, two)") == [
                "tests/mm.c: puts tests under a condition:   # ifdef SLOW"
            ])
        #expect(try await edited("KTEST(mm, one)", "/*\nKTEST(mm, one)") == ["tests/mm.c: opens a comment over what was there"])
        #expect(
            try await edited("KTEST(mm, one)", "#undef KASSERT\n#define KASSERT(x)\nKTEST(mm, one)")
                == ["tests/mm.c: redefines the harness: #undef KASSERT", "tests/mm.c: redefines the harness: #define KASSERT(x)"])
    }
}
