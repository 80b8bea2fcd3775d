import AutonMessages
import Testing

@testable import AutonGate

@Suite struct CounterReportTests {
    private static let good = """
        KTAP version 1
        1..2
        # auton nonce 5e1f
        # run lib.a
        ok 1 lib.a
        # count lib.a 17
        # run lib.b
        # lib/b.c:3: KASSERT(0): false
        not ok 2 lib.b
        # count lib.b 4
        # bench lib.a
        # bench lib.a 25000
        # bench lib.c
        # bench lib.c 0
        # auton end 5e1f pass 1 fail 1 skip 0

        """

    @Test func countsStandWhereTheHarnessPutsThem() {
        let report = CounterReport(parsing: Array(Self.good.utf8))
        #expect(
            report.counts
                == InstructionCounts(
                    tests: [.init(name: "lib.a", instructions: 17), .init(name: "lib.b", instructions: 4)],
                    benches: [.init(name: "lib.a", instructions: 25000), .init(name: "lib.c", instructions: 0)]))
        #expect(report.problems == [])
        #expect(report.running == nil)
    }

    @Test func anOrdinaryBootHasNone() {
        let report = CounterReport(parsing: Array("# run lib.a\nok 1 lib.a\n# auton end 5e1f pass 1 fail 0 skip 0\n".utf8))
        #expect(report.counts == InstructionCounts())
        #expect(report.problems == [])
    }

    /// A test may print what it likes as a diagnostic of its own.
    @Test(arguments: ["# count lib.a 1", "# count lib.b 1", "# bench lib.a 1", "# bench lib.z", "# bench lib.z 1"])
    func whatATestPrintsIsNoCount(line: String) {
        let text = Self.good.replacing("# run lib.b\n", with: "# run lib.b\n\(line)\n")
        #expect(CounterReport(parsing: Array(text.utf8)) == CounterReport(parsing: Array(Self.good.utf8)))
    }

    /// What a benchmark prints, or a kernel beside the harness.
    @Test(arguments: [
        ("# bench lib.a\n", "# bench lib.a\n# bench lib.a 1\n", "a count for lib.a where none belongs"),
        ("# bench lib.a\n", "# bench lib.a\n# count lib.b 1\n", "a count for lib.b where none belongs"),
        ("# bench lib.a\n", "# bench lib.a\n# bench lib.z 1\n", "a count for lib.z where none belongs"),
        ("# bench lib.a 25000\n", "", "no count for lib.a"),
        ("# count lib.b 4\n", "# count lib.b 4\n# count lib.b 4\n", "a count for lib.b where none belongs"),
        ("# count lib.b 4\n", "# count lib.a 4\n", "a count for lib.a where none belongs"),
        ("# auton end", "# bench lib.c 5\n# auton end", "a count for lib.c where none belongs"),
    ])
    func whatStandsElsewhereIsAProblem(what: String, instead: String, problem: String) {
        #expect(CounterReport(parsing: Array(Self.good.replacing(what, with: instead).utf8)).problems.first == problem)
    }

    @Test(arguments: ["-1", "x", "99999999999999999999", "", "1 2", "0x10"]) func whatIsNoNumber(text: String) {
        let report = CounterReport(parsing: Array(Self.good.replacing("# count lib.b 4", with: "# count lib.b \(text)").utf8))
        #expect(report.counts.tests.map(\.name) == ["lib.a"])
        #expect(report.problems == [])
    }

    @Test func aBenchmarkThatDoesNotEnd() {
        let report = CounterReport(
            parsing: Array((String(Self.good.prefix(upTo: Self.good.firstRange(of: "# bench lib.c 0")!.lowerBound))).utf8))
        #expect(report.running == "lib.c")
        #expect(report.counts.benches.map(\.name) == ["lib.a"])
    }

    @Test(arguments: [
        ("count lib.a 5", true), ("count 5", false), ("count lib.a", false), ("count lib.a x", false), ("counts 5", false),
    ])
    func aNoteThatIsCalledCountIsNone(comment: String, isCount: Bool) {
        #expect(CounterReport.isCount(comment) == isCount)
    }
}
