import AutonMessages
import SystemPackage

/// A recorded run beside the mailbox and workspace in which it is repeated: where main stood then, found on main now.
///
/// Trees are not compared by their ids, since the user's side (spec, acceptance tests, harness) may have moved on after
/// the recording. A recorded tree is known by the merge that made it, or as what the run started from.
package struct RecordedRun: Sendable {
    private let recording: Mailbox
    private let mailbox: Mailbox
    private let workspace: Workspace

    package init(_ recording: Mailbox, repeatedIn mailbox: Mailbox, _ workspace: Workspace) {
        self.recording = recording
        self.mailbox = mailbox
        self.workspace = workspace
    }

    /// The commit on main that stands where the recorded `tree` stood; nil if main has not got there.
    package func commit(for tree: String) async throws -> String? {
        let merges = try recording.all(Merge.self)
        let makers = merges.filter { $0.tree == tree }
        if !makers.isEmpty { return try makers.compactMap { try mailbox.find(Merge.self, $0.task)?.commit }.first }
        guard let first = merges.first(where: { $0.baseTree == tree }) else {
            return merges.isEmpty ? try await workspace.main() : nil
        }
        // A tree that no merge made, in the midst of the run: somebody changed the user's side between two of them.
        if let before = try merge(before: first.task) { return try mailbox.find(Merge.self, before)?.commit }
        return try await start(before: first)
    }

    /// The task whose merge came before that of `task`, as the record of the stages has it; nil for the first, or if nothing is known.
    private func merge(before task: String) throws -> String? {
        let progress = recording.root.appending("progress.tsv")
        guard Files.exists(progress) else { return nil }
        let merged = try Files.readText(progress).split(separator: "\n").compactMap { line -> String? in
            guard let line = ProgressLine(line), !line.isStart, line.stage == "merge", line.status == 0 else { return nil }
            return AttemptID(line.subject)?.task
        }
        return merged.firstIndex(of: task).flatMap { $0 > 0 ? merged[$0 - 1] : nil }
    }

    /// Whether it was recorded before it was done, so that what has no outcome in it is left for whoever goes on.
    package var isUnfinished: Bool { Self.isUnfinished(recording.root) }

    package static func isUnfinished(_ run: FilePath) -> Bool { Files.exists(run.appending("unfinished")) }

    /// Why an attempt was refused, at `stage` or, if that is nil, at any; nil if it was not.
    package func refusal(of task: TaskMessage, at stage: Reason.Stage? = nil) throws -> Reason? {
        let next = try recording.find(TaskMessage.self, AttemptID(task: task.task, attempt: task.attempt + 1).description)?
            .reasons
        let reasons = try next ?? recording.find(Blocked.self, task.task)?.reasons ?? []
        return reasons.last { $0.attempt == task.attempt && $0.stage == stage ?? $0.stage }
    }

    /// Whether the recorded run's gate accepted the attempt, or whether it merged it.
    package func passed(_ task: TaskMessage, at stage: Reason.Stage) throws -> Bool {
        switch stage {
        case .agent, .review: false
        case .gate: try recording.find(Verdict.self, task.name)?.accepted == true
        case .merge: try recording.find(Merge.self, task.task)?.attempt == task.attempt
        }
    }

    /// Whether main stands where it stood when the recorded run merged `task`; true for a task that it did not merge, unless it
    /// had not come to that.
    package func isTurn(of task: String) async throws -> Bool {
        guard let merge = try recording.find(Merge.self, task) else {
            return !isUnfinished || recording.has(.blocked, task)
                || recording.latestAttempt(of: task) > mailbox.latestAttempt(of: task)
        }
        return try await commit(for: merge.baseTree) == workspace.main()
    }

    /// Asks until there is an answer, for ten seconds: others of the loop may be about to merge what it takes, and whoever gives up has to wait
    /// until all of them are done.
    package func patiently<T: Sendable>(_ answer: () async throws -> T?) async throws -> T? {
        let end = ContinuousClock.now + .seconds(10)
        while true {
            if let found = try await answer() { return found }
            guard ContinuousClock.now < end else { return nil }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// What the run started from: main without its first merge, if that is there already.
    private func start(before first: Merge) async throws -> String {
        let id = AttemptID(task: first.task, attempt: first.attempt)
        guard let candidate = try mailbox.find(Candidate.self, id.description),
            let merge = try await workspace.merge(of: candidate.commit)
        else { return try await workspace.main() }
        return merge.base
    }
}

extension RecordedRun? {
    /// Judges an attempt; once more if it fails now and passed when it was recorded, as tests go by the clock and may fail by chance.
    ///
    /// - Parameter refusal: why it failed; nil if it did not.
    /// - Throws: `AutonError` with `.tryAgain` if it fails the second time too and no further attempt is recorded: who goes on has to
    ///   try again.
    package func judging<T: Sendable>(
        _ task: TaskMessage, at stage: Reason.Stage, ifRefused refusal: (T) -> String?, _ judge: () async throws -> T
    ) async throws -> T {
        let first = try await judge()
        guard refusal(first) != nil, try self?.passed(task, at: stage) == true, case let second = try await judge() else {
            return first
        }
        if let why = refusal(second), try self?.refusal(of: task) == nil {
            throw AutonError(.tryAgain, "the recorded run had no fault to find here; now twice: \(why)", at: task.name)
        }
        return second
    }
}
