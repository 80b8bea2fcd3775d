import AutonMessages
import Testing

@testable import AutonGate

/// Whether a new test says anything about the kernel.
@Suite struct AddedTestsTests {
    private func added(_ files: [String: String]) -> AddedTests {
        AddedTests(Change(files: files.map { .made($0, to: $1) }))
    }

    @Test(arguments: [
        "KASSERT(f());", "KASSERT_EQ(a, 1);", "KASSERT_STREQ(\"a\", text);", "for (;;) { if (x) KASSERT(x->y); }", "check(1);",
        "CHECK(1);",
        "ktest_fail(__FILE__, __LINE__, \"x\");", "twice();", "KASSERT(1 + 1 == N);", "if (0) { f(); } else KASSERT(f());",
        "do { KASSERT(f()); } while (0);", "if (x) return; KASSERT(f());",
        "\n#if 0\n#else\nKASSERT(f());\n#endif\n",
        "while (x) { return; } KASSERT(f());", "KASSERT_EQ(f(), f());", "KASSERT_EQ(a[0], a[1]);", "KASSERT(a || (b, 1));",
    ])
    func asserts(body: String) {
        let helpers = """
            #define CHECK(a) do { check(a); } while (0)
            static void check(int a) { KASSERT_EQ(f(), a); }
            static void twice(void) { CHECK(2); }
            """
        #expect(added(["tests/a.c": helpers + "\nKTEST(a, b)\n{\n\t\(body)\n}\n"]).asserting == ["a.b"])
        #expect(added(["tests/a.h": helpers, "tests/a.c": "KTEST(a, b)\n{\n\t\(body)\n}\n"]).empty == [])
    }

    @Test(arguments: [
        "", "KASSERT(true);", "KASSERT(1);", "KASSERT_EQ(1 + 1, 2);", "KASSERT_EQ(sizeof(\"a\"), 2);",
        "KASSERT_STREQ(\"a\", \"a\");",
        "KASSERT(NULL == 0 && !false);", "if (0) KASSERT(f());", "if (false) { ; KASSERT(f()); } g();",
        "while (0) { KASSERT(f()); }", "\n#if 0\nKASSERT(f());\n#endif\n", "return;\nKASSERT(f());",
        "{ ; } return; KASSERT(f());", "f();", "(void)\"KASSERT(f())\";", "/* KASSERT(f()); */", "check();", "KASSERT;",
        "KASSERT_EQ(a, a);", "KASSERT_STREQ(x->name, x->name);", "KASSERT(f() || 1);", "KASSERT(true || f(a, b));",
    ])
    func assertsNothing(body: String) {
        // What another file has by that name is not what is called.
        let found = added([
            "tests/a.c": "static void check(void) { KASSERT(1); }\nKTEST(a, b)\n{\n\t\(body)\n}\n",
            "tests/b.c": "static void check(void) { KASSERT(f()); }\n",
        ])
        #expect(found.empty == ["a.b"])
        #expect(found.asserting == [])
    }

    /// In a header that the change leaves alone, since it is frozen.
    @Test func aHeaderOfTests() async throws {
        let check = "#define CHECK(a) KASSERT((a) > limit)\n"
        let ws = try await TestWorkspace(only: [
            "tests/check.h": check, "include/check.h": check.replacing("CHECK", with: "OTHER"),
        ])
        let test = "KTEST(a, one)\n{\n\tCHECK(1);\n}\nKTEST(a, two)\n{\n\tOTHER(1);\n}\n"
        let found = AddedTests(try await ws.change(["tests/a.c": .write(test)]))
        #expect(found.asserting == ["a.one"])
        #expect(found.empty == ["a.two"])
    }

    @Test func theCheck() {
        let base = BaseResult(record: TreeRecord(tests: [TestResult(name: "a.old", outcome: .ok)]))
        let test = { (name: String, body: String) in "KTEST(a, \(name))\n{\n\t\(body)\n}\n" }
        func check(_ source: String, _ tests: [TestResult]) -> String? {
            var list = Checklist()
            list.added = added(["tests/a.c": source])
            list.checkNewTests(tests, of: .sample(role: .tester), base: base)
            return list.failure
        }
        let good = test("good", "KASSERT(f());"), empty = test("empty", "")
        let passed = { (name: String) in TestResult(name: name, outcome: .ok) }
        #expect(check(good, [passed("a.good")]) == nil)
        #expect(
            check(good + empty, [passed("a.good"), passed("a.empty")]) == "new-tests: asserts nothing of the kernel: a.empty")
        #expect(check(good, [TestResult(name: "a.good", outcome: .skip)]) == "new-tests: no test that passes is new")
        #expect(check(test("old", "KASSERT(f());"), [passed("a.old")]) == "new-tests: no test that passes is new")
        // One that only a macro defines is not seen, and does not count.
        #expect(check("#define T(n) KTEST(a, n) { }\nT(made)\n", [passed("a.made")]) == "new-tests: no test that passes is new")
        #expect(check(good + "T(made)\n", [passed("a.good"), passed("a.made")]) == nil)
    }
}
