import AutonAgents
import AutonGate
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

extension Agent {
    /// Makes an attempt at a task: works in a worktree of its own and files the candidate.
    func work(on task: TaskMessage) async throws -> Candidate {
        if let done = try mailbox.find(Candidate.self, task.name) {
            // A kill may have come before this.
            try? checkpoints(of: task).remove()
            return done
        }
        let open = try openDependencies(of: task)
        guard open.isEmpty else {
            let board = try TaskBoard(mailbox)
            if let stuck = try board.stuck().first(where: { $0.task == task.task }) {
                // What is blocked may be planned anew.
                throw AutonError(
                    board.needsDropped().contains(task.task) ? .badInput : .tryAgain, "cannot start: \(stuck.because)",
                    at: task.name)
            }
            throw AutonError(.tryAgain, "depends on \(open.joined(separator: ", ")), not merged yet", at: task.name)
        }
        return try await locked(task.name) {
            // Whoever held the lock until now may have finished it.
            if let done = try mailbox.find(Candidate.self, task.name) { return done }
            try await checkpoints(of: task).unlock()
            try await workspace.git.removeLocks(["refs/heads/\(Workspace.branch(task.id)).lock"])
            let role = TeamRole(task.role)
            let transport = try options.openTransport(role, mailbox)
            if let replay = transport as? ReplayTransport,
                try Mailbox(replay.run).find(TaskMessage.self, "\(task.task).1")?.description != task.description
            {
                throw AutonError(
                    .badConfiguration,
                    "the recording has another task of that name, or none; a plan of your own needs a model (\(ModelChoice.ways))",
                    at: replay.run.string)
            }
            try await stopIfUnfinished(task.name, before: Candidate.self, of: task.name, transport)
            let (base, baseTree) = try await base(of: task.name, transport: transport)
            if transport is ReplayTransport,
                let candidate = try await rehearse(task, transport, base: base, baseTree: baseTree)
            {
                return candidate
            }
            // The first request need not wait for the checkout.
            let checkout = Task { try await workspace.worktree(task.name, commit: base) }
            do {
                let candidate = try await attempt(task, transport, role, base: base, baseTree: baseTree, checkout)
                try? await checkout.value.remove()
                return candidate
            } catch {
                try? await checkout.value.remove()
                throw error
            }
        }
    }

    private func attempt(
        _ task: TaskMessage, _ transport: any Transport, _ role: TeamRole, base: String, baseTree: String,
        _ checkout: Task<Worktree, any Error>
    ) async throws -> Candidate {
        let earlier = task.attempt > 1 ? try await startFromEarlier(task, base: base, checkout.value) : nil
        let root = workspace.place(of: task.name)
        let directory = ConfinedDirectory(root, writable: task.paths)
        let checkpoints = checkpoints(of: task)
        let (ending, provenance) = try await Sandbox(root).enter { sandbox in
            let tools = readingTools(directory) + writingTools(directory) + runningTools(sandbox, limits)
            let finish = Finish { try await refusals(of: checkout.value.writeTree(), base: base, paths: task.paths) }
            return try await converse(
                task.name, role: role, task: taskText(task, earlier), tools: tools, closing: finish, baseTree: baseTree,
                transport: transport
            ) { loop in
                loop.ready = { _ = try await checkout.value }
                loop.made = { try await checkpoints.keep(checkout.value, after: $0) }
                // The results of the last calls may be what the kill came before.
                let told = loop.conversation.transcript.requests.count - 1
                if told > 0 { loop.resumed = try await checkpoints.restore(checkout.value, upTo: told) }
            }
        }
        let candidate = try await hand(in: task, ending, provenance, checkout.value, base: base, baseTree: baseTree)
        // Not before that: a kill would have the commands run again.
        try? checkpoints.remove()
        return candidate
    }

    private func checkpoints(of task: TaskMessage) -> Checkpoints { Checkpoints(git: workspace.git, name: task.name) }

    /// What the gate has against a tree before it builds it.
    private func refusals(of tree: String, base: String, paths: [String]) async throws -> [String] {
        let judgement = try await Gate.judgeDiff(commit: tree, base: base, paths: paths, in: workspace.git)
        // That nothing is changed may be what is meant: then the gate says so.
        let isChanged = judgement.change.map { !$0.files.isEmpty } ?? true
        return judgement.checks.filter { isChanged && $0.status == .failed }.flatMap { check in
            check.evidence.isEmpty ? ["\(check.name): \(check.detail)"] : check.evidence.map { "\(check.name): \($0)" }
        }
    }

    /// The candidate of a recorded attempt, if its writes give the recorded tree, alone or with its commands.
    private func rehearse(_ task: TaskMessage, _ transport: any Transport, base: String, baseTree: String) async throws
        -> Candidate?
    {
        let path = mailbox.transcript(task.name)
        guard !Files.exists(path), let rehearsal = try Rehearsal(of: task, transport) else { return nil }
        let directory = ConfinedDirectory(workspace.place(of: task.name), writable: task.paths)
        for withCommands in [false, true] {
            let tree = try await workspace.worktree(task.name, commit: base)
            defer { try? tree.remove() }
            _ = try await startFromEarlier(task, base: base, tree)
            let isSame =
                if withCommands {
                    try await Sandbox(tree.root).enter { sandbox in
                        try await rehearsal.perform(
                            in: tree, directory, workspace, baseTree: baseTree, shell: IdleShell(sandbox, limits))
                    }
                } else {
                    try await rehearsal.perform(in: tree, directory, workspace, baseTree: baseTree)
                }
            guard isSame else { continue }
            let provenance = try await rehearsal.keepTranscript(at: path)
            return try await hand(in: task, rehearsal.ending, provenance, tree, base: base, baseTree: baseTree)
        }
        return nil
    }

    private func openDependencies(of task: TaskMessage) throws -> [String] {
        if task.depends.allSatisfy({ mailbox.has(.merge, $0) }) { return [] }
        return try TaskBoard(mailbox).dependencies(of: task.task).filter { !mailbox.has(.merge, $0) }
    }

    /// Puts what the attempt before left within the task's paths, merged with `base`, into the worktree.
    ///
    /// - Returns: the merge, nil if nothing is left of an earlier attempt.
    private func startFromEarlier(_ task: TaskMessage, base: String, _ tree: Worktree) async throws -> Workspace.MergedTree? {
        let before = AttemptID(task: task.task, attempt: task.attempt - 1)
        guard task.attempt > 1, let earlier = try mailbox.find(Candidate.self, before.description) else { return nil }
        let merge = try await workspace.mergeTree(base, earlier.commit)
        try await tree.git.run("read-tree", "--reset", "-u", merge.tree)
        let others = task.paths.map { ":(exclude,literal)\($0)" }
        try await tree.git.run(["restore", "--source=\(base)", "--staged", "--worktree", "--", "."] + others)
        try Worktree.handOver(tree.root)
        return try await tree.writeTree() == workspace.git.tree(of: base) ? nil : merge
    }

    private func taskText(_ task: TaskMessage, _ earlier: Workspace.MergedTree?) -> String {
        var text = """
            # \(task.title)

            \(task.description)

            Task: \(task.task), attempt \(task.attempt)
            Subsystem: \(task.subsystem)
            You may write: \(task.paths.joined(separator: ", "))
            These booted tests must pass: \(task.accept.isEmpty ? "those that pass already" : task.accept.joined(separator: ", "))
            """
        if let earlier {
            text +=
                "\n\nThe work tree holds what attempt \(task.attempt - 1) left, merged with main as it is now. Mend it, or do it anew."
            if !earlier.conflicts.isEmpty {
                text +=
                    " In conflict, marked with <<<<<<< and >>>>>>>: \(earlier.conflicts.joined(separator: ", "))."
                    + " Resolve them so that both sides' intentions hold."
            }
        }
        if !task.reasons.isEmpty { text += "\n\n## Earlier attempts did not land\n\n" + describe(task.reasons) }
        return text
    }

    private func hand(
        in task: TaskMessage, _ ending: AgentEnding, _ provenance: Provenance, _ worktree: Worktree, base: String,
        baseTree: String
    ) async throws -> Candidate {
        let (surrender, input): (Surrender?, JSONValue) =
            switch ending {
            case .gaveUp(let surrender): (surrender, [:])
            case .finished(let input):
                (input["obstacle"]?.string.map { Surrender("the task cannot be done as it is told", lastWords: $0) }, input)
            }
        let summary = surrender.map(Self.summary) ?? input["summary"]?.string ?? ""
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
            task: task.task, attempt: task.attempt, branch: branch, commit: commit, tree: tree,
            agentTree: try await workspace.agentTree(of: tree), base: base, baseTree: baseTree,
            outcome: surrender == nil ? .finished : .gaveUp, summary: summary, slower: try Self.justifications(in: input),
            provenance: provenance)
        try mailbox.file(candidate)
        return candidate
    }

    private static func summary(_ surrender: Surrender) -> String {
        surrender.reason + (surrender.lastWords.isEmpty ? "" : "\n\nIts last words:\n\(surrender.lastWords)")
    }

    private static func justifications(in input: JSONValue) throws -> [Justification]? {
        guard let slower = input["slower"] else { return nil }
        return try CompactJSON.decode([Justification].self, from: CompactJSON.encode(slower), at: "finish")
    }
}
