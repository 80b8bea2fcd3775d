import AutonAgents
import AutonKit
import AutonMessages
import AutonModel

extension Agent {
    /// Makes an attempt at a task: works in a worktree of its own and files the candidate.
    func work(on task: TaskMessage) async throws -> Candidate {
        if let done = try mailbox.find(Candidate.self, task.name) { return done }
        let open = try openDependencies(of: task)
        guard open.isEmpty else {
            throw AutonError(.tryAgain, "depends on \(open.joined(separator: ", ")), which is not merged", at: task.name)
        }
        return try await locked(task.name) {
            // Whoever held the lock until now may have finished it.
            if let done = try mailbox.find(Candidate.self, task.name) { return done }
            let transport = try options.openTransport()
            let base = try await base(of: task.name, transport: transport)
            let tree = try await workspace.worktree(task.name, commit: base)
            defer { try? tree.remove() }
            let conflict = try await startFromConflict(task, base: base, tree)
            let baseTree = try await workspace.git.tree(of: base)
            let directory = ConfinedDirectory(tree.root, writable: task.paths)
            let tools = readingTools(directory) + writingTools(directory) + runningTools(tree.root)
            let (ending, provenance) = try await converse(
                task.name, role: task.role.rawValue, task: taskText(task, conflict: conflict), tools: tools, closing: Finish(),
                baseTree: baseTree, transport: transport)
            return try await hand(in: task, ending, provenance, tree, base: base, baseTree: baseTree)
        }
    }

    private func openDependencies(of task: TaskMessage) throws -> [String] {
        if task.depends.allSatisfy({ mailbox.has(.merge, $0) }) { return [] }
        return try TaskBoard(mailbox).dependencies(of: task.task).filter { !mailbox.has(.merge, $0) }
    }

    /// For an attempt that resolves a conflict: puts the earlier candidate merged with `base` into the worktree.
    ///
    /// - Returns: the files that hold conflict marks.
    private func startFromConflict(_ task: TaskMessage, base: String, _ tree: Worktree) async throws -> [String] {
        guard let attempt = task.resolves else { return [] }
        let earlier = try mailbox.get(Candidate.self, AttemptID(task: task.task, attempt: attempt).description)
        let merge = try await workspace.mergeTree(base, earlier.commit)
        try await tree.git.run("read-tree", "--reset", "-u", merge.tree)
        try Worktree.handOver(tree.root)
        return merge.conflicts
    }

    private func taskText(_ task: TaskMessage, conflict: [String]) -> String {
        var text = """
            # \(task.title)

            \(task.description)

            Task: \(task.task), attempt \(task.attempt)
            Subsystem: \(task.subsystem)
            You may write: \(task.paths.joined(separator: ", "))
            These booted tests must pass: \(task.accept.isEmpty ? "those that pass already" : task.accept.joined(separator: ", "))
            """
        if !conflict.isEmpty {
            text +=
                "\n\nThe work tree holds the task's earlier candidate merged with main; these files are in conflict, marked with"
                + " <<<<<<< and >>>>>>>: \(conflict.joined(separator: ", ")). Resolve them so that both sides' intentions hold."
        }
        if !task.reasons.isEmpty { text += "\n\n## Earlier attempts did not land\n\n" + describe(task.reasons) }
        return text
    }

    private func hand(
        in task: TaskMessage, _ ending: AgentEnding, _ provenance: Provenance, _ worktree: Worktree, base: String,
        baseTree: String
    ) async throws -> Candidate {
        let (outcome, summary): (Candidate.Outcome, String) =
            switch ending {
            case .finished(let input): (.finished, input["summary"]?.string ?? "")
            case .gaveUp(let reason): (.gaveUp, reason)
            }
        let tree = try await worktree.writeTree()
        let message = """
            \(task.title)

            \(summary)

            Auton-Task: \(task.name)
            Auton-Role: \(task.role.rawValue)
            Auton-Model: \(provenance.model)
            Auton-Transcript: \(provenance.transcript)
            """
        let commit = try await workspace.git.run("commit-tree", tree, "-p", base, input: message)
        let branch = Workspace.branch(task.id)
        let old = try await workspace.git.commit("refs/heads/\(branch)") ?? ""
        guard try await workspace.git.moveBranch(branch, to: commit, from: old) else {
            throw AutonError(.tryAgain, "the branch was moved meanwhile", at: branch)
        }
        let candidate = Candidate(
            task: task.task, attempt: task.attempt, branch: branch, commit: commit, tree: tree, base: base, baseTree: baseTree,
            outcome: outcome, summary: summary, provenance: provenance)
        try mailbox.file(candidate)
        return candidate
    }
}
