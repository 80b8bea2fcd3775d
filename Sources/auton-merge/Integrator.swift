import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// Moves main, and only ever to a tree that the gate has built and booted.
struct Integrator {
    var mailbox: Mailbox
    var workspace: Workspace
    var limits: RunLimits
    var demands: GateDemands
    var maxAttempts: Int
    /// A recorded run whose order of merges is to be kept; nil for any order.
    var recorded: RecordedRun?

    enum Outcome: Equatable {
        case merged(Merge)
        /// Refused: why, and what became of the task.
        case refused(String, consequence: String)
    }

    /// Merges the newest attempt at a task. To be called with the merge lock held.
    ///
    /// A kill between moving main and filing the message leaves a commit on main that names the task; it is found here,
    /// so nothing merges twice.
    func merge(_ task: TaskMessage) async throws -> Outcome {
        if let done = try mailbox.find(Merge.self, task.task) { return .merged(done) }
        guard let candidate = try mailbox.find(Candidate.self, task.name) else { throw notReady(task, "has no candidate yet") }
        if mailbox.has(.blocked, task.task) { throw notReady(task, "is blocked (see auton status)") }
        let verdict = try mailbox.find(Verdict.self, task.name), review = try mailbox.find(Review.self, task.name)
        guard verdict?.accepted == true, verdict?.commit == candidate.commit else {
            throw notReady(task, "is not accepted by the gate")
        }
        guard review?.decision == .approve, review?.commit == candidate.commit else {
            throw notReady(task, "is not approved by a reviewer")
        }
        let open = try TaskBoard(mailbox).dependencies(of: task.task).filter { !mailbox.has(.merge, $0) }
        guard open.isEmpty else { throw notReady(task, "depends on \(open.joined(separator: ", ")), not merged yet") }

        try await workspace.updateCheckout()
        let main = try await workspace.main()
        if let done = try await alreadyOnMain(task, candidate) { return .merged(try file(done)) }
        let mainTree = try await workspace.git.tree(of: main)
        if let recorded, try await !recorded.isTurn(of: task.task) {
            throw notReady(task, "waits its turn: the recorded run merged others first")
        }
        let merged = try await workspace.mergeTree(main, candidate.commit)
        guard merged.conflicts.isEmpty else {
            let reason = Reason(
                attempt: task.attempt, stage: .merge,
                summary: "conflicts with main in \(merged.conflicts.joined(separator: ", "))",
                details: merged.messages)
            return .refused(
                reason.summary,
                consequence: try mailbox.refuse(task, because: reason, maxAttempts: maxAttempts, conflict: true))
        }
        let commit = try await workspace.git.run(
            "commit-tree", merged.tree, "-p", main, "-p", candidate.commit, input: message(task, candidate))
        let judgement = try await recorded.judging(
            task, at: .merge, ifRefused: { $0.accepted ? nil : reason(for: $0.verdict(on: task.id)).summary }
        ) { try await judge(task, candidate, commit: commit, base: main) }
        guard judgement.accepted else {
            let found = reason(for: judgement.verdict(on: task.id))
            let reason = Reason(
                attempt: task.attempt, stage: .merge, summary: "the merge with main fails: \(found.summary)",
                details: found.details)
            return .refused(reason.summary, consequence: try mailbox.refuse(task, because: reason, maxAttempts: maxAttempts))
        }
        // A boot that took too long then may not now: the next attempt is what was recorded.
        if let reason = try recorded?.refusal(of: task, at: .merge) {
            return .refused(reason.summary, consequence: try mailbox.refuse(task, because: reason, maxAttempts: maxAttempts))
        }
        guard try await workspace.git.moveBranch("main", to: commit, from: main) else {
            throw AutonError(.tryAgain, "main was moved by somebody else meanwhile", at: workspace.root.string)
        }
        // Nobody comes back for it once the message is filed.
        try await workspace.updateCheckout()
        let merge = Merge(
            task: task.task, attempt: task.attempt, candidate: candidate.commit, commit: commit, tree: merged.tree,
            baseTree: mainTree,
            tests: judgement.tests, boots: judgement.boots)
        return .merged(try file(merge))
    }

    private func judge(_ task: TaskMessage, _ candidate: Candidate, commit: String, base: String) async throws -> Judgement {
        var gate = Gate(workspace: workspace, limits: limits, demands: demands)
        gate.isOfMain = true
        return try await gate.judge(
            commit: commit, base: base, task: task, slower: candidate.slower ?? [], purpose: "merge-\(task.name)")
    }

    private func file(_ merge: Merge) throws -> Merge {
        try mailbox.file(merge)
        return merge
    }

    private func notReady(_ task: TaskMessage, _ why: String) -> AutonError {
        AutonError(.tryAgain, why, at: task.name)
    }

    private func message(_ task: TaskMessage, _ candidate: Candidate) -> String {
        """
        Merge \(task.name): \(task.title)

        Auton-Task: \(task.name)
        Auton-Role: integrator
        Auton-Candidate: \(candidate.commit)
        """
    }

    /// The merge of this task that is on main without its message.
    private func alreadyOnMain(_ task: TaskMessage, _ candidate: Candidate) async throws -> Merge? {
        guard let merge = try await workspace.merge(of: candidate.commit) else { return nil }
        let judgement = try await judge(task, candidate, commit: merge.commit, base: merge.base)
        return Merge(
            task: task.task, attempt: task.attempt, candidate: candidate.commit, commit: merge.commit, tree: merge.tree,
            baseTree: try await workspace.git.tree(of: merge.base), tests: judgement.tests, boots: judgement.boots)
    }
}
