import AutonGate
import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// Takes candidates from the mailbox, has them judged, and files what follows.
struct Desk {
    let mailbox: Mailbox
    let gate: Gate
    let maxAttempts: Int
    /// The run that is repeated; nil if none is.
    let recorded: RecordedRun?

    /// The verdict on an attempt, and for a rejection one line that says what it led to. A verdict that is filed
    /// stands: killed after filing it and run again, this makes up for what was left.
    ///
    /// What a run that is repeated rejected (a boot that took too long then may not now), or refused later for what only a reviewer saw
    /// then, is followed by the attempt that was recorded.
    func judge(_ task: TaskMessage) async throws -> (verdict: Verdict, consequence: String?) {
        let verdict = try await verdict(on: task)
        guard !verdict.accepted else {
            guard let reason = try recorded?.refusal(of: task, at: .gate) else { return (verdict, nil) }
            let consequence = try mailbox.refuse(task, because: reason, maxAttempts: maxAttempts)
            return (verdict, "it was rejected when it was recorded, \(consequence)")
        }
        let later = try recorded?.passed(task, at: .gate) == true ? recorded?.refusal(of: task) : nil
        return (verdict, try mailbox.refuse(task, because: later ?? reason(for: verdict), maxAttempts: maxAttempts))
    }

    private func verdict(on task: TaskMessage) async throws -> Verdict {
        try mailbox.setAsideStaleJudgements(of: task.name)
        if let verdict = try mailbox.find(Verdict.self, task.name) { return verdict }
        let candidate = try mailbox.get(Candidate.self, task.name)
        let verdict =
            switch candidate.outcome {
            case .gaveUp: Self.refusal(of: candidate)
            case .finished:
                try await recorded.judging(task, at: .gate, ifRefused: { $0.accepted ? nil : reason(for: $0).summary }) {
                    try await judge(candidate, as: task)
                }
            }
        try mailbox.file(verdict)
        return verdict
    }

    private func judge(_ candidate: Candidate, as task: TaskMessage) async throws -> Verdict {
        let judgement = try await gate.judge(
            commit: candidate.commit, base: candidate.base, task: task, slower: candidate.slower ?? [], purpose: task.name)
        guard judgement.tree == candidate.tree else {
            throw AutonError(.badInput, "the candidate's tree is not its commit's", at: task.name)
        }
        return judgement.verdict(on: task.id)
    }

    /// Who gave up is not judged further: whatever the commit holds, its author says that it is not the task.
    private static func refusal(of candidate: Candidate) -> Verdict {
        let check = Check(
            name: CheckName.finished, status: .failed, detail: "the agent gave up",
            evidence: candidate.summary.split(separator: "\n").map(String.init))
        return Verdict(
            task: candidate.task, attempt: candidate.attempt, commit: candidate.commit, tree: candidate.tree, accepted: false,
            checks: [check], tests: [], console: [])
    }
}

extension Gate {
    private static let byHand = "by-hand-"

    /// Removes what judgements by hand have left, which are named for their processes: a killed one's checkout, and the lock files.
    func sweep() throws {
        let locks = workspace.root.appending(".auton/lock"), prefix = "gate-" + Self.byHand
        for name in try Files.list(locks) where name.hasPrefix(prefix) {
            // A second build's has a word behind the number.
            guard let process = pid_t(name.dropFirst(prefix.count).prefix(while: \.isNumber)), kill(process, 0) != 0,
                errno == ESRCH,
                let lock = try workspace.lock(name)
            else { continue }
            defer { lock.release() }
            let place = workspace.place(of: name)
            for left in [place] + [".index", ".index.lock"].map({ place.appending($0, toLastComponent: true) }) {
                try Files.removeTree(left)
            }
            try Files.removeTree(locks.appending(name))
        }
    }

    /// - Parameter base: nil for where the commit left main, or, if it is on main, for its parent.
    func judge(byHand name: String, base: String?) async throws -> Judgement {
        guard let commit = try await workspace.git.commit(name) else {
            throw AutonError(.badInput, "no such commit or branch in the workspace", at: name)
        }
        let start: String
        if let base {
            guard let found = try await workspace.git.commit(base) else {
                throw AutonError(.badInput, "no such commit or branch in the workspace", at: base)
            }
            start = found
        } else {
            start = try await defaultBase(of: commit, name: name)
        }
        return try await judge(commit: commit, base: start, task: nil, purpose: Self.byHand + "\(getpid())")
    }

    private func defaultBase(of commit: String, name: String) async throws -> String {
        let fork = try await workspace.git.result(["merge-base", try await workspace.main(), commit])
        if fork.succeeded && fork.line != commit { return fork.line }
        guard let parent = try await workspace.git.commit(commit + "^") else {
            throw AutonError(.badInput, "nothing to compare it with; give --base", at: name)
        }
        return parent
    }
}
