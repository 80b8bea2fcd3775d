import AutonMessages
import Testing

@testable import AutonGate

@Suite struct KTAPReportTests {
    private static let whole = [
        "KTAP version 1", "1..3", "# auton nonce ab", "# run boot.a", "ok 1 boot.a", "# run boot.b",
        "# acceptance/boot.c:31: KASSERT_EQ(a, b): 3 != 4", "not ok 2 boot.b", "ok 3 boot.c # SKIP no device",
        "# auton end ab pass 1 fail 1 skip 1",
    ]

    private func report(_ lines: [String]) -> KTAPReport {
        KTAPReport(parsing: lines.map { $0 + "\n" }.joined(), nonce: "ab")
    }

    @Test func aWholeReport() {
        let report = report(Self.whole)
        #expect(
            report.tests == [
                TestResult(name: "boot.a", outcome: .ok),
                TestResult(name: "boot.b", outcome: .notOk, diagnostics: ["acceptance/boot.c:31: KASSERT_EQ(a, b): 3 != 4"]),
                TestResult(name: "boot.c", outcome: .skip),
            ])
        #expect(report.problems == [])
        #expect(report.running == nil)
        #expect(report.panic == nil)
    }

    @Test func noiseChangesNothing() {
        var lines = Self.whole.map { $0 + "\r" }
        for index in lines.indices.reversed() {
            lines.insert(["", "noise", "okay", "ok", "ok fine", "1..x", "#"][index % 7], at: index)
        }
        lines.insert("# bench mm.alloc 123", at: 9)
        #expect(report(lines) == report(Self.whole))
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Lines by index, replaced; an empty one is none.
        var changes: [Int: String] = [:]
        var appended: [String] = []
        var problem: String

        init(_ name: String, _ changes: [Int: String] = [:], append: [String] = [], problem: String) {
            (testDescription, self.changes, appended, self.problem) = (name, changes, append, problem)
        }
    }

    static let damages = [
        Damage("no version", [0: ""], problem: "the plan comes before the version line"),
        Damage("two versions", [0: "KTAP version 1\nKTAP version 1"], problem: "a second version line"),
        Damage("another version", [0: "KTAP version 2"], problem: "KTAP version 2, not 1"),
        Damage("no plan", [1: ""], problem: "results come before the plan"),
        Damage("two plans", [1: "1..3\n1..3"], problem: "a second plan"),
        Damage("late plan", [1: "", 9: "1..3\n# auton end ab pass 1 fail 1 skip 1"], problem: "results come before the plan"),
        Damage("plan too large", [1: "1..4"], problem: "4 tests planned, 3 reported"),
        Damage("plan too small", [1: "1..2"], problem: "2 tests planned, 3 reported"),
        Damage("plan that is none", [1: "1..-3"], problem: "results come before the plan"),
        Damage("no nonce", [2: ""], problem: "results come before the nonce"),
        Damage("wrong nonce", [2: "# auton nonce ac"], problem: "the nonce at the beginning is not this boot's"),
        Damage("two nonces", [2: "# auton nonce ab\n# auton nonce ab"], problem: "a second nonce line"),
        Damage(
            "wrong nonce at the end", [9: "# auton end ac pass 1 fail 1 skip 1"],
            problem: "the nonce at the end is not this boot's"),
        Damage("no end", [9: ""], problem: "no end line"),
        Damage("two ends", append: ["# auton end ab pass 1 fail 1 skip 1"], problem: "a second end line"),
        Damage(
            "wrong counts", [9: "# auton end ab pass 3 fail 0 skip 0"],
            problem: "the end line says 3 passed, 0 failed, 0 skipped, but there are results for 1 passed, 1 failed, 1 skipped"),
        Damage("malformed end", [9: "# auton end ab pass 1"], problem: "the nonce at the end is not this boot's"),
        Damage("number twice", [7: "not ok 1 boot.b"], problem: "result 1 stands where 2 belongs"),
        Damage("number left out", [8: "ok 4 boot.c # SKIP"], problem: "result 4 stands where 3 belongs"),
        Damage("name twice", [8: "ok 3 boot.a # SKIP"], problem: "two results for boot.a"),
        Damage("result after the end", append: ["ok 4 boot.d"], problem: "a result after the end: boot.d"),
        Damage("test after the end", append: ["# run boot.d"], problem: "boot.d begins after the end"),
        Damage("another's result", [7: "ok 2 boot.x"], problem: "a result for boot.x while boot.b was running"),
        Damage("result left out", [7: ""], problem: "a result for boot.c while boot.b was running"),
        Damage("two begun", [4: ""], problem: "no result for boot.a"),
        Damage(
            "refusal", [9: "# harness: the nonce is not a hexadecimal string"],
            problem: "the harness refused: the nonce is not a hexadecimal string"),
    ]

    @Test(arguments: damages) func whatCountsMustBeWhole(_ damage: Damage) {
        var lines = Self.whole.indices.map { damage.changes[$0] ?? Self.whole[$0] }
        lines += damage.appended
        let problems = report(lines).problems
        #expect(problems.contains(damage.problem), "\(problems)")
    }

    @Test func aCutReportNamesTheTestThatWasRunning() {
        let report = report(Array(Self.whole.prefix(7)))
        #expect(report.running == "boot.b")
        #expect(report.tests.map(\.outcome) == [.ok, .missing])
        #expect(report.tests.last?.diagnostics == ["acceptance/boot.c:31: KASSERT_EQ(a, b): 3 != 4"])
        #expect(report.problems == ["3 tests planned, 1 reported", "no end line"])
    }

    @Test func aTestThatWasPassedOverIsMissing() {
        let report = report(Self.whole.enumerated().filter { $0.offset != 4 }.map(\.element))
        #expect(report.tests.first { $0.name == "boot.a" }?.outcome == .missing)
    }

    @Test func aPanicSaysWhy() {
        #expect(report(Self.whole.prefix(6) + ["# panic: out of frames"]).panic == "out of frames")
    }

    @Test func emptyIsNothing() {
        let report = report([])
        #expect(!report.begun)
        #expect(report.tests == [])
        #expect(report.problems == ["no version line", "no nonce line", "no plan", "no end line"])
    }

    @Test(arguments: [
        ("ok 1 a", TestResult.Outcome.ok), ("ok 1 - a", .ok), ("not ok 1 a", .notOk), ("ok 1 a # SKIP why", .skip),
        ("ok 1 a # skip", .skip),
        ("not ok 1 a # SKIP", .notOk), ("ok 1 a # TIMEOUT", .notOk), ("ok 1 a # ERROR", .notOk), ("not ok 1 a # XFAIL", .notOk),
        ("ok 1 a # TODO", .notOk),
    ]) func directives(line: String, outcome: TestResult.Outcome) {
        let report = report(["KTAP version 1", "1..1", "# auton nonce ab", line])
        #expect(report.tests.map(\.name) == ["a"])
        #expect(report.tests.first?.outcome == outcome)
    }

    @Test func aParentFailsWithItsChild() {
        let lines = [
            "KTAP version 1", "1..2", "# auton nonce ab", "# run mm.all", "  KTAP version 1", "  1..2", "  ok 1 x", "    1..1",
            "    not ok 1 deep", "  ok 2 y", "ok 1 mm.all", "# run mm.more", "  1..1", "  ok 1 z", "ok 2 mm.more",
            "# auton end ab pass 2 fail 0 skip 0",
        ]
        let report = report(lines)
        #expect(report.problems == [])
        #expect(
            report.tests == [
                TestResult(name: "mm.all", outcome: .notOk, diagnostics: ["subtests failed: y"]),
                TestResult(name: "mm.more", outcome: .ok),
            ])
    }

    @Test func aParentFailsWithTooFewChildren() {
        let report = report(["KTAP version 1", "1..1", "# auton nonce ab", "  1..3", "  ok 1 x", "ok 1 mm"])
        #expect(report.tests == [TestResult(name: "mm", outcome: .notOk, diagnostics: ["3 subtests planned, 1 reported"])])
    }

    @Test func controlCharactersDoNotReachTheReader() {
        let report = report(["KTAP version 1", "1..1", "# auton nonce ab", "# \u{1b}[31mred", "ok 1 a\u{7}"])
        #expect(report.tests == [TestResult(name: "a?", outcome: .ok, diagnostics: ["?[31mred"])])
    }
}
