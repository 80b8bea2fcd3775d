import AutonKit
import AutonMessages
import TestSupport
import Testing

@Suite struct TaskBoardTests {
    private let directory: TemporaryDirectory
    private let mailbox: Mailbox
    private let provenance = Provenance(model: "m", transcript: "sha256:0", turns: 1, usage: TokenUsage())

    init() throws {
        directory = try TemporaryDirectory()
        mailbox = Mailbox(directory["mailbox"])
        try mailbox.prepare()
        let tasks = [plannedTask("a"), plannedTask("b", after: ["a"]), plannedTask("c", after: ["b"])]
        try mailbox.file(Plan(number: 1, goal: "g", tasks: tasks, provenance: nil))
        try mailbox.fileAll(tasks.map(TaskMessage.init))
    }

    private func states() throws -> [TaskBoard.State] {
        let board = try TaskBoard(mailbox)
        return try board.tasks.map { try board.state(of: $0.id) }
    }

    private func merge(_ task: String) throws {
        try mailbox.file(Merge(task: task, attempt: 1, candidate: "", commit: "", tree: "", baseTree: "", tests: []))
    }

    private func block(_ task: String) throws { try mailbox.file(Blocked(task: task, attempts: 3, reasons: [])) }

    private func amend(_ number: Int, _ task: String, _ replacements: [PlannedTask]) throws {
        let amendment = Amendment(task: task, replacements: replacements.map(\.id), reason: "r")
        try mailbox.file(Plan(number: number, goal: "g", tasks: replacements, amendments: [amendment], provenance: nil))
    }

    @Test func stagesFollowOneAnother() throws {
        #expect(try states() == [.due(attempt: 1, stage: .agent), .waiting(on: ["a"]), .waiting(on: ["b"])])
        let candidate = Candidate(
            task: "a", attempt: 1, branch: "", commit: "", tree: "", base: "", baseTree: "", outcome: .finished, summary: "",
            provenance: provenance)
        try mailbox.file(candidate)
        #expect(try states()[0] == .due(attempt: 1, stage: .validate))
        try mailbox.file(Verdict(task: "a", attempt: 1, commit: "", tree: "", accepted: true, checks: [], tests: [], console: []))
        #expect(try states()[0] == .due(attempt: 1, stage: .review))
        try mailbox.file(
            Review(task: "a", attempt: 1, commit: "", decision: .approve, summary: "", comments: [], provenance: provenance))
        #expect(try states()[0] == .due(attempt: 1, stage: .merge))
        try merge("a")
        #expect(try states() == [.merged, .due(attempt: 1, stage: .agent), .waiting(on: ["b"])])
    }

    @Test func theNewestAttemptCounts() throws {
        let reason = Reason(attempt: 1, stage: .gate, summary: "", details: [])
        try mailbox.refuse(mailbox.attempt(named: "a"), because: reason, maxAttempts: 3)
        #expect(try states()[0] == .due(attempt: 2, stage: .agent))
    }

    @Test func whatDependsOnABlockedTaskIsStuck() throws {
        try block("a")
        #expect(try states() == [.blocked, .stuck(behind: ["a"]), .stuck(behind: ["b"])])
    }

    @Test func aReplacedTaskStandsForItsReplacements() throws {
        try block("a")
        try amend(2, "a", [plannedTask("a1"), plannedTask("a2", after: ["a1"])])
        try mailbox.file(TaskMessage(plannedTask("a1")))
        #expect(
            try states() == [
                .replaced(by: ["a1", "a2"]), .waiting(on: ["a1", "a2"]), .waiting(on: ["b"]), .due(attempt: 1, stage: .agent),
                .waiting(on: ["a1"]),
            ])
        try block("a1")
        try amend(3, "a1", [plannedTask("a3")])
        #expect(try TaskBoard(mailbox).dependencies(of: "b") == ["a3", "a2"])
        try merge("a3")
        try merge("a2")
        #expect(try states()[1] == .due(attempt: 1, stage: .agent))
    }

    @Test func dependentsOfADroppedTaskAreStuck() throws {
        try block("a")
        try amend(2, "a", [])
        #expect(try states() == [.dropped, .stuck(behind: ["a"]), .stuck(behind: ["b"])])
    }
}
