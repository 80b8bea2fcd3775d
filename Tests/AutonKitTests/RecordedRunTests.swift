import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

/// A run whose user's side has moved on since it was recorded: no tree has the id that it had then.
@Suite struct RecordedRunTests {
    private let directory: TemporaryDirectory
    private let workspace: Workspace
    private let recording: Mailbox
    private let mailbox: Mailbox

    init() async throws {
        directory = try TemporaryDirectory()
        workspace = try await KernelTree.workspace(in: directory)
        recording = Mailbox(directory["recording"])
        mailbox = Mailbox(directory["mailbox"])
        try recording.prepare()
        try mailbox.prepare()
        try recording.file(Self.merge("boot-001", tree: "then-1", baseTree: "then-0"))
        try recording.file(Self.merge("boot-002", tree: "then-2", baseTree: "then-1"))
    }

    private var run: RecordedRun { RecordedRun(recording, repeatedIn: mailbox, workspace) }

    private static func merge(_ task: String, candidate: String = "c", commit: String = "m", tree: String, baseTree: String)
        -> Merge
    {
        Merge(task: task, attempt: 1, candidate: candidate, commit: commit, tree: tree, baseTree: baseTree, tests: [])
    }

    /// Commits a file on a branch and merges it into main; the merge's message is filed only if asked.
    private func land(_ task: String, filing: Bool = true) async throws -> String {
        let main = try await workspace.main()
        let commit = try await workspace.commit(["boot/\(task).c": "// \(task)\n"], on: main)
        let tree = try await workspace.git.tree(of: commit)
        let merge = try await workspace.git.run("commit-tree", tree, "-p", main, "-p", commit, input: task)
        try mailbox.file(
            Candidate(
                task: task, attempt: 1, branch: "b", commit: commit, tree: tree, base: main, baseTree: "", outcome: .finished,
                summary: "", provenance: Provenance(model: "", transcript: "", turns: 0, usage: TokenUsage())))
        #expect(try await workspace.git.moveBranch("main", to: merge, from: main))
        if filing { try mailbox.file(Self.merge(task, candidate: commit, commit: merge, tree: tree, baseTree: "")) }
        return merge
    }

    /// Somebody changed a protected file of the workspace between two merges.
    @Test func aTreeThatNoMergeMadeComesAfterTheMergeBefore() async throws {
        try recording.file(Self.merge("boot-003", tree: "then-3", baseTree: "then-2 and by hand"))
        let ends = ["boot-001", "boot-002", "boot-003"].map { "end\t1\t\($0).1\tmerge\t0\t1.0\t\n" }
        try directory.write(
            "recording/progress.tsv", "run\t1\t\t\t0\t0\t\nend\t1\tboot-003.1\tmerge\t75\t1.0\t\n" + ends.joined())
        #expect(try await !run.isTurn(of: "boot-003"))
        _ = try await land("boot-001")
        #expect(try await !run.isTurn(of: "boot-003"))
        let second = try await land("boot-002")
        #expect(try await run.isTurn(of: "boot-003"))
        #expect(try await run.commit(for: "then-2 and by hand") == second)
    }

    @Test func aTreeIsKnownByTheMergeThatMadeIt() async throws {
        let start = try await workspace.main()
        #expect(try await run.commit(for: "then-0") == start)
        #expect(try await run.commit(for: "then-1") == nil)
        #expect(try await run.commit(for: "never") == nil)
        let first = try await land("boot-001")
        #expect(try await run.commit(for: "then-0") == start, "the start stays where it was")
        #expect(try await run.commit(for: "then-1") == first)
        let second = try await land("boot-002")
        #expect(try await run.commit(for: "then-1") == first)
        #expect(try await run.commit(for: "then-2") == second)
    }

    /// A kill after main was moved and before the message was filed.
    @Test func theStartIsFoundBehindAMergeWithoutItsMessage() async throws {
        let start = try await workspace.main()
        _ = try await land("boot-001", filing: false)
        #expect(try await run.commit(for: "then-0") == start)
        #expect(try await run.commit(for: "then-1") == nil)
    }

    @Test func mergesKeepTheirOrder() async throws {
        #expect(try await run.isTurn(of: "boot-001"))
        #expect(try await !run.isTurn(of: "boot-002"))
        #expect(try await run.isTurn(of: "lib-009"), "nothing is known of it")
        _ = try await land("boot-001")
        #expect(try await !run.isTurn(of: "boot-001"))
        #expect(try await run.isTurn(of: "boot-002"))
    }

    /// What a busy machine refused then is refused again, and nothing else.
    @Test func aRefusalIsFollowed() throws {
        let planned = PlannedTask(
            id: "boot-001", title: "t", role: .developer, subsystem: "boot", description: "d", paths: ["boot/"], depends: [],
            accept: [])
        let task = TaskMessage(planned)
        #expect(try run.refusal(of: task, at: .merge) == nil)
        let reason = Reason(attempt: 1, stage: .merge, summary: "too slow", details: [])
        let next = task.next(because: reason)
        try recording.file(next)
        #expect(try run.refusal(of: task, at: .merge) == reason)
        #expect(try run.refusal(of: next, at: .merge) == nil)
        try recording.file(
            Blocked(
                task: "boot-001", attempts: 2, reasons: [reason, Reason(attempt: 2, stage: .review, summary: "no", details: [])]))
        #expect(try run.refusal(of: next, at: .merge) == nil, "not at its merge")
        #expect(try run.refusal(of: next, at: .review)?.summary == "no" && run.refusal(of: next)?.summary == "no")
    }

    /// Of a run that was stopped nothing is merged that it had not merged, unless it is to be refused.
    @Test func whereARunWasStopped() async throws {
        #expect(!run.isUnfinished)
        try directory.write("recording/unfinished", "due\n")
        #expect(run.isUnfinished)
        #expect(try await run.isTurn(of: "boot-001"))
        #expect(try await !run.isTurn(of: "lib-009"))
        try recording.file(Blocked(task: "lib-009", attempts: 1, reasons: []))
        #expect(try await run.isTurn(of: "lib-009"))
    }

    /// What failed by chance, as tests that go by the clock do, is no attempt's end: no other is recorded.
    @Test(arguments: [[true], [false, true], [false, false]])
    func whatWentWellWhenRecordedIsJudgedOnceMore(_ outcomes: [Bool]) async throws {
        var left = outcomes
        let error = await failure {
            let isGood = try await judging(run, TaskMessage(plannedTask("boot-001"))) { left.removeFirst() }
            #expect(isGood)
        }
        #expect(error?.status == (outcomes.last == true ? nil : .tryAgain))
        let words = "the recorded run had no fault to find here; now twice: a test failed: boot-001.1"
        #expect(error?.description == (outcomes.last == true ? nil : words))
        #expect(left.isEmpty)
    }

    @Test func anythingElseIsJudgedOnce() async throws {
        let first = TaskMessage(plannedTask("boot-001")), reason = Reason(attempt: 1, stage: .gate, summary: "", details: [])
        for (run, task) in [(run, first.next(because: reason)), (nil, first)] {
            var times = 0
            let isGood = try await judging(run, task) {
                times += 1
                return false
            }
            #expect(!isGood && times == 1)
        }
    }

    private func judging(_ run: RecordedRun?, _ task: TaskMessage, _ judge: () async throws -> Bool) async throws -> Bool {
        try await run.judging(task, at: .merge, ifRefused: { $0 ? nil : "a test failed" }, judge)
    }

    @Test func whatTheRecordedRunHadDone() throws {
        let first = TaskMessage(plannedTask("boot-001")), reason = Reason(attempt: 1, stage: .gate, summary: "", details: [])
        #expect(try run.passed(first, at: .merge) && !run.passed(first.next(because: reason), at: .merge))
        #expect(try !run.passed(TaskMessage(plannedTask("boot-003")), at: .merge) && !run.passed(first, at: .gate))
        for (attempt, accepted) in [(1, true), (2, false)] {
            try recording.file(
                Verdict(
                    task: "boot-001", attempt: attempt, commit: "c", tree: "t", accepted: accepted, checks: [], tests: [],
                    console: []))
        }
        #expect(try run.passed(first, at: .gate) && !run.passed(first.next(because: reason), at: .gate))
    }
}
