import AutonKit
import AutonMessages
import Testing

@testable import AutonGate

/// Candidates that make a benchmark slower than it is on the base.
@Suite struct SpeedTests {
    private static func work(_ instructions: Int) -> String {
        "void work(void);\nvoid work(void)\n{\n\t__asm__ volatile(\".rept \(instructions); nop; .endr\");\n}\n"
    }

    private static let bench = """
        #include "harness.h"
        void work(void);
        KTEST(demo, one) { work(); }
        KBENCH(demo, work) { for (uint64_t i = 0; i < n; i++) work(); }

        """

    private let ws: TestWorkspace

    init() async throws { ws = try await TestWorkspace(adding: ["mm/work.c": Self.work(96), "tests/work.c": Self.bench]) }

    private func judge(_ edits: [String: TestWorkspace.Edit], slower: [Justification] = [], share: Double = 5) async throws
        -> Judgement
    {
        var gate = Gate(workspace: ws.workspace)
        gate.demands.slower = share
        return try await gate.judge(
            commit: try await ws.commit(edits), base: try await ws.workspace.main(), task: nil, slower: slower, purpose: "test")
    }

    private func speed(_ judgement: Judgement) -> Check? { judgement.checks.first { $0.name == "speed" } }

    @Test func aSlowerBenchmarkIsRefusedWithBothNumbers() async throws {
        let slower = ["mm/work.c": TestWorkspace.Edit.write(Self.work(120))]
        let refused = try await judge(slower)
        let check = try #require(speed(refused))
        #expect(!refused.accepted)
        // The loop and the call take four instructions, work() two beside its own, if the frame pointer is kept.
        let count = try #require(refused.counters?.benches.first)
        let base = try #require(count.base)
        #expect(count.name == "demo.work")
        #expect(count.instructions - base == 24_000)
        #expect(
            check.detail
                == "demo.work: \(Text.grouped(count.instructions)) instructions, \(Text.grouped(base)) on the base (\(Text.change(count.instructions, base))), over 5%"
        )
        #expect(check.evidence == [check.detail])
        // A test may take longer.
        let test = try #require(refused.counters?.tests.first { $0.name == "demo.one" })
        #expect(test.instructions - (test.base ?? 0) == 24)

        let justified = try await judge(slower, slower: [Justification(bench: "demo.work", why: "It does more,\nas asked.")])
        #expect(justified.accepted)
        #expect(speed(justified)?.detail.hasSuffix(", justified: It does more, as asked.") == true)
        let another = try await judge(slower, slower: [Justification(bench: "demo.other", why: "It does more.")])
        #expect(speed(another)?.status == .failed)
        #expect(try await judge(slower, share: 25).accepted)
    }

    @Test func aLittleSlowerOrFasterIsAccepted() async throws {
        for instructions in [100, 10] {
            let judgement = try await judge(["mm/work.c": .write(Self.work(instructions))])
            #expect(judgement.accepted)
            #expect(speed(judgement)?.status == .passed)
            #expect(judgement.sections?.first { $0.name == ".text" }?.base != nil)
        }
    }

    @Test func aBenchmarkThatIsGone() async throws {
        let edit = ["tests/work.c": TestWorkspace.Edit.write(Self.bench.replacing("KBENCH", with: "// KBENCH"))]
        let judgement = try await judge(edit, slower: [Justification(bench: "demo.work", why: "It is of no use.")])
        #expect(!judgement.accepted)
        let failed = judgement.checks.filter { $0.status == .failed }
        // If the diff rules do not see it, the boot does.
        #expect(failed.contains { $0.name == "weakened-tests" || $0.detail == "demo.work: the benchmark is gone" })
    }

    @Test func countsThatAreNotComparedWithAnything() {
        var list = Checklist()
        let counts = InstructionCounts(benches: [.init(name: "a.b", instructions: 7)])
        list.checkSpeed(counts, base: BaseResult(failure: "build: 1 error"), share: 5, justified: [])
        list.checkSpeed(counts, base: BaseResult(record: TreeRecord(tests: [])), share: 5, justified: [])
        #expect(list.checks.map(\.status) == [.skipped, .passed])
        #expect(list.checks[1].detail == "0 benchmarks, 0 tests")
    }

    /// What takes nothing was not measured.
    @Test(arguments: [(0, 0, false), (0, 7, false), (1, 0, false), (105, 100, true), (106, 100, false), (Int.max, Int.max, true)])
    func theShare(now: Int, base: Int, passes: Bool) {
        var list = Checklist()
        let record = TreeRecord(tests: [], counts: InstructionCounts(benches: [.init(name: "a.b", instructions: base)]))
        let counts = InstructionCounts(benches: [.init(name: "a.b", instructions: now)])
        list.checkSpeed(counts, base: BaseResult(record: record), share: 5, justified: [])
        #expect(list.hasFailed == !passes)
    }
}
