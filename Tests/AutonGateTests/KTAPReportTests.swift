import AutonMessages
import Testing

@testable import AutonGate

@Suite struct KTAPReportTests {
    private static let whole = [
        "KTAP version 1", "1..3", "# auton nonce ab", "# run boot.a", "ok 1 boot.a", "# run boot.b",
        "# acceptance/boot.c:31: KASSERT_EQ(a, b): 3 != 4", "not ok 2 boot.b", "# run boot.c", "ok 3 boot.c # SKIP no device",
        "# auton end ab pass 1 fail 1 skip 1",
    ]

    private func report(_ lines: [String]) -> KTAPReport {
        KTAPReport(parsing: Array(lines.map { $0 + "\n" }.joined().utf8), nonce: "ab")
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
            lines.insert(
                ["", "noise", "okay", "ok", "ok fine", "1..x", "#", "ok -1 x", "  ok x", "\u{0}\u{1b}", "KTAP", "not okay"][
                    index], at: index)
        }
        lines.insert("# bench mm.alloc 123", at: lines.count - 1)
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
        Damage(
            "a pass in spite of an assertion", [7: "ok 2 boot.b", 10: "# auton end ab pass 2 fail 0 skip 1"],
            problem: "boot.b is said to be ok, but an assertion of it failed"),
        Damage(
            "a skip in spite of an assertion", [7: "ok 2 boot.b # SKIP", 10: "# auton end ab pass 1 fail 0 skip 2"],
            problem: "boot.b is said to be skip, but an assertion of it failed"),
        Damage("no version", [0: ""], problem: "the plan comes before the version line"),
        Damage("two versions", [0: "KTAP version 1\nKTAP version 1"], problem: "a second version line"),
        Damage("another version", [0: "KTAP version 2"], problem: "KTAP version 2, not KTAP version 1"),
        Damage("another protocol", [0: "TAP version 14"], problem: "TAP version 14, not KTAP version 1"),
        Damage("a version with more", [0: "KTAP version 1 "], problem: "KTAP version 1 , not KTAP version 1"),
        Damage("no plan", [1: ""], problem: "results come before the plan"),
        Damage("two plans", [1: "1..3\n1..3"], problem: "a second plan"),
        Damage("late plan", [1: "", 10: "1..3\n# auton end ab pass 1 fail 1 skip 1"], problem: "results come before the plan"),
        Damage("plan too large", [1: "1..4"], problem: "4 tests planned, 3 reported"),
        Damage("plan too small", [1: "1..2"], problem: "2 tests planned, 3 reported"),
        Damage("plan that is negative", [1: "1..-3"], problem: "results come before the plan"),
        Damage("plan with a sign", [1: "1..+3"], problem: "results come before the plan"),
        Damage("plan that is no number", [1: "1..99999999999999999999"], problem: "results come before the plan"),
        Damage("plan with more", [1: "1..3 4"], problem: "results come before the plan"),
        Damage("no nonce", [2: ""], problem: "results come before the nonce"),
        Damage("wrong nonce", [2: "# auton nonce ac"], problem: "the nonce at the beginning is not this boot's"),
        Damage("two nonces", [2: "# auton nonce ab\n# auton nonce ab"], problem: "a second nonce line"),
        Damage(
            "wrong nonce at the end", [10: "# auton end ac pass 1 fail 1 skip 1"],
            problem: "the nonce at the end is not this boot's"),
        Damage("no end", [10: ""], problem: "no end line"),
        Damage("two ends", append: ["# auton end ab pass 1 fail 1 skip 1"], problem: "a second end line"),
        Damage(
            "wrong counts", [10: "# auton end ab pass 3 fail 0 skip 0"],
            problem: "the end line says 3 passed, 0 failed, 0 skipped, but there are results for 1 passed, 1 failed, 1 skipped"),
        Damage("malformed end", [10: "# auton end ab pass 1"], problem: "an end line without its counts"),
        Damage("end that is not ours", [10: "  # auton end ab pass 1 fail 1 skip 1"], problem: "no end line"),
        Damage("number twice", [7: "not ok 1 boot.b"], problem: "result 1 stands where 2 belongs"),
        Damage("number with a sign", [7: "not ok +2 boot.b"], problem: "a “not ok” without a number"),
        Damage("number with a zero", [7: "not ok 02 boot.b"], problem: "a “not ok” without a number"),
        Damage("number that is too large", [7: "not ok 99999999999999999999 b"], problem: "a “not ok” without a number"),
        Damage("no number", [7: "not ok boot.b"], problem: "a “not ok” without a number"),
        Damage("nothing but its words", [7: "not ok"], problem: "a “not ok” without a number"),
        Damage("pass without a number", [9: "ok boot.c"], problem: "3 tests planned, 2 reported"),
        Damage("negative pass", [9: "ok -3 boot.c"], problem: "3 tests planned, 2 reported"),
        Damage("number left out", [9: "ok 4 boot.c # SKIP"], problem: "result 4 stands where 3 belongs"),
        Damage("name twice", [9: "ok 3 boot.a # SKIP"], problem: "two results for boot.a"),
        Damage("result after the end", append: ["ok 4 boot.d"], problem: "the report goes on after its end"),
        Damage("subtest after the end", append: ["  ok 1 x"], problem: "the report goes on after its end"),
        Damage("two reports", append: whole, problem: "a second version line"),
        Damage("two reports, one plan", append: whole, problem: "the report goes on after its end"),
        Damage("bail out", [6: "Bail out! no frames"], problem: "bail out: no frames"),
        Damage("pass after a bail-out", [6: "  bail OUT!"], problem: "the report goes on after a bail-out"),
        Damage("begun and never done", [9: "ok 3 boot.c # SKIP\n# run boot.d"], problem: "no result for boot.d"),
        Damage("control characters", [4: "ok 1 boot\u{0}.a"], problem: "a line with control characters or what is no UTF-8"),
        Damage(
            "carriage return inside", [4: "ok 1 boot.a\rnot ok"], problem: "a line with control characters or what is no UTF-8"),
        Damage(
            "long name", [4: "ok 1 " + String(repeating: "a", count: LineReader.longest)],
            problem: "a line of more than \(LineReader.longest) bytes"),
        Damage("odd indentation", [4: " ok 1 boot.a"], problem: "a line that is not indented by whole levels of two spaces"),
        Damage("tabs", [4: "\tok 1 boot.a"], problem: "a line that is not indented by whole levels of two spaces"),
        Damage(
            "subtests of no test", [10: "  KTAP version 1\n  1..1\n  ok 1 x\n" + whole[10]],
            problem: "subtests without their test's result"),
        Damage("too deep", [3: String(repeating: "  ", count: 17) + "ok 1 x"], problem: "nested deeper than 16 levels"),
        Damage("test after the end", append: ["# run boot.d"], problem: "boot.d begins after the end"),
        Damage("another's result", [7: "ok 2 boot.x"], problem: "a result for boot.x while boot.b was running"),
        Damage("result left out", [7: "", 8: ""], problem: "a result for boot.c while boot.b was running"),
        Damage("never begun", [8: ""], problem: "a result for boot.c, which was not begun"),
        Damage("two begun", [4: ""], problem: "no result for boot.a"),
        Damage(
            "refusal", [10: "# harness: the nonce is not a hexadecimal string"],
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
        #expect(report.problems == ["3 tests planned, 1 reported", "no result for boot.b", "no end line"])
    }

    @Test func aTestThatWasPassedOverIsMissing() {
        let report = report(Self.whole.enumerated().filter { $0.offset != 4 }.map(\.element))
        #expect(report.tests.first { $0.name == "boot.a" }?.outcome == .missing)
    }

    /// What a test says of a run begins none, in the report or for who looks on.
    @Test(arguments: ["# run queue 5", "# run boot.b 5", "# run", "# run it", "# run a.b.c", "# run 1,5"])
    func aNoteThatIsCalledRunIsNone(line: String) {
        let report = report(Self.whole.flatMap { $0 == "# run boot.b" ? [$0, line] : [$0] })
        #expect(report.problems == [])
        let said = report.tests.map { $0.diagnostics.filter { $0.hasPrefix("run") } }
        #expect(said == [[], [String(line.dropFirst(2))], []])
        let witness = Witness(functions: ["ktest_lib__a": 0x7000])
        let text = "# run lib.a\n", rest = "\(line)\nok 1 lib.a\n"
        let events = text.utf8.map(Witness.Event.sent) + [.called(0x7000)] + rest.utf8.map(Witness.Event.sent)
        #expect(witness.origin(of: Array((text + rest).utf8), events) == .harness)
    }

    @Test func aPanicSaysWhy() {
        #expect(report(Self.whole.prefix(6) + ["# panic: out of frames"]).panic == "out of frames")
    }

    @Test func emptyIsNothing() {
        let report = report([])
        #expect(!report.begun)
        #expect(report.tests == [])
        #expect(report.problems == ["no nonce line", "no version line", "no plan", "no end line"])
    }

    @Test(arguments: [
        ("ok 1 a", "a", TestResult.Outcome.ok), ("ok 1 - a", "a", .ok), ("not ok 1 a", "a", .notOk),
        ("ok 1 a # SKIP why", "a", .skip),
        ("ok 1 a # skip", "a", .skip), ("ok 1 a #sKiPped: why", "a", .skip), ("ok 1 a#SKIP", "a", .skip),
        ("ok 1 # SKIP", "test 1", .skip),
        ("not ok 1 a # SKIP", "a", .notOk), ("ok 1 a # TIMEOUT", "a", .notOk), ("ok 1 a # Error", "a", .notOk),
        ("not ok 1 a # XFAIL", "a", .notOk), ("ok 1 a # todo", "a", .notOk), ("ok 1 a # rcode=0", "a", .ok),
        ("ok 1 a # errors=0", "a", .ok),
        ("ok 1 a \\# SKIP", "a # SKIP", .ok), ("ok 1 a \\\\# SKIP", "a \\", .skip), ("ok 1 a\\b\\", "a\\b\\", .ok),
        ("ok 1", "test 1", .ok), ("ok 1 ", "test 1", .ok), ("ok 1 größe", "größe", .ok),
    ]) func directives(line: String, name: String, outcome: TestResult.Outcome) {
        let report = report(["KTAP version 1", "1..1", "# auton nonce ab", line])
        #expect(report.tests.map(\.name) == [name])
        #expect(report.tests.first?.outcome == outcome)
    }

    private func nested(_ lines: [String], parent: String = "ok 1 mm.all") -> KTAPReport {
        report(
            ["KTAP version 1", "1..1", "# auton nonce ab", "# run mm.all"] + lines + [
                parent, "# auton end ab pass 1 fail 0 skip 0",
            ])
    }

    @Test func subtestsOfSubtests() {
        let report = nested([
            "  KTAP version 1", "  1..2", "    KTAP version 1", "    1..2", "    ok 1 x", "    ok 2 y # SKIP", "noise",
            "  ok 1 a", "  ok 2 b",
        ])
        #expect(report.problems == [])
        #expect(report.tests == [TestResult(name: "mm.all", outcome: .ok)])
    }

    @Test func aParentFailsWithItsChild() {
        let report = nested([
            "  KTAP version 1", "  1..2", "  ok 1 x", "    KTAP version 1", "    1..1", "    # why", "    not ok 1 deep",
            "  ok 2 y",
        ])
        #expect(report.problems == [])
        #expect(report.tests == [TestResult(name: "mm.all", outcome: .notOk, diagnostics: ["why", "subtests failed: y"])])
    }

    @Test(arguments: [
        (["  1..1", "  ok 1 x"], ["the plan comes before the version line", "results come before the version line"]),
        (["  KTAP version 1", "  ok 1 x"], ["results come before the plan", "no plan"]),
        (["  KTAP version 1", "  1..3", "  ok 1 x"], ["3 tests planned, 1 reported"]),
        (["  KTAP version 1", "  1..1", "  ok 1 x", "  ok 2 y"], ["1 tests planned, 2 reported"]),
        (
            ["  KTAP version 1", "  1..2", "  ok 2 x", "  ok 1 y"],
            ["result 2 stands where 1 belongs", "result 1 stands where 2 belongs"]
        ),
        (["  KTAP version 1", "  1..1", "  ok 1 x", "  KTAP version 1"], ["a second version line"]),
        (["  KTAP version 2", "  1..1", "  ok 1 x"], ["KTAP version 2, not KTAP version 1"]),
        (
            ["  KTAP version 1", "  1..0", "    KTAP version 1", "    1..1", "    ok 1 x"],
            ["some of their own without a result of their test"]
        ),
    ]) func subtestsMustBeWholeToo(lines: [String], faults: [String]) {
        let report = nested(lines)
        #expect(report.tests.map(\.outcome) == [.notOk])
        #expect(report.tests.first?.diagnostics.prefix(faults.count) == faults.map { "subtests: " + $0 }[...])
    }

    @Test func twoBlocksOfSubtests() {
        let block = ["  KTAP version 1", "  1..1", "  ok 1 x"]
        #expect(nested(block).tests.map(\.outcome) == [.ok])
        #expect(nested(block + ["1..1"] + block).tests.first?.diagnostics == ["two blocks of subtests"])
    }

    @Test func controlCharactersDoNotReachTheReader() {
        let report = report(["KTAP version 1", "1..1", "# auton nonce ab", "# \u{1b}[31mred", "ok 1 a"])
        #expect(report.tests == [TestResult(name: "a", outcome: .ok, diagnostics: ["?[31mred"])])
    }

    @Test func whatIsKeptIsBounded() {
        let flood = Array(repeating: "# " + String(repeating: "x", count: 10_000), count: 500)
        let report = report(Self.whole[..<4] + flood + Self.whole[4...])
        #expect(report.problems == [])
        #expect(report.tests[0].diagnostics.count == 33)
        #expect(report.tests[0].diagnostics.last == "[… 468 more lines]")
        #expect(report.tests[0].diagnostics.allSatisfy { $0.count < 400 })
    }

    @Test func aCutPanicIsStillOne() {
        let text = Self.whole[..<6].map { $0 + "\n" }.joined() + "# panic: out of fr"
        #expect(KTAPReport(parsing: Array(text.utf8), nonce: "ab").panic == "out of fr")
    }
}
