import AutonAgents
import AutonCommand
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

/// What the agents of all roles share: where they work, who answers, and the start of a conversation.
struct Agent {
    var mailbox: Mailbox
    var workspace: Workspace
    var options: ModelChoice
    var maxTurns: Int
    var maxAttempts: Int

    var limits: RunLimits { options.settings.sandbox.limits }

    /// Holds the lock of `purpose`, so that no two processes work on the same thing.
    func locked<T>(_ purpose: String, _ body: () async throws -> T) async throws -> T {
        guard let lock = try workspace.lock(purpose) else {
            throw AutonError(.tryAgain, "another process works on it", at: purpose)
        }
        defer { lock.release() }
        return try await body()
    }

    /// The commit to start from, and its tree: the one that a conversation was begun or recorded on, else main.
    ///
    /// - Throws: `AutonError` with `.tryAgain` if a recording starts from a tree that main has not reached yet.
    func base(of conversation: String, transport: any Transport) async throws -> (commit: String, tree: String) {
        let commit: String?
        if let replay = transport as? ReplayTransport {
            // Its own transcript, once it is begun, is the recorded one and speaks of the same tree.
            let run = RecordedRun(Mailbox(replay.run), repeatedIn: mailbox, workspace)
            let tree = try replay.recordedBase(of: conversation)
            commit = try await run.patiently { try await run.commit(for: tree) }
        } else if let begun = try Transcript(reading: mailbox.transcript(conversation)).opening?.baseTree {
            commit = try await workspace.commitOnMain(withTree: begun)
        } else {
            // One process for both, since this is waited for before the first request.
            let both = try await workspace.git.result(["log", "-1", "--format=%H %T", "refs/heads/main", "--"])
            let ids = both.line.split(separator: " ").map(String.init)
            if both.succeeded, ids.count == 2 { return (ids[0], ids[1]) }
            commit = try await workspace.main()
        }
        if let commit { return (commit, try await workspace.git.tree(of: commit)) }
        throw AutonError(.tryAgain, "main has not got to where the conversation starts from", at: conversation)
    }

    /// Ends here if `transport` replays a run that was stopped before this conversation had an outcome: what was said is kept, for whoever
    /// goes on, if main has the very tree that it speaks of.
    func stopIfUnfinished<M: Message>(_ conversation: String, before outcome: M.Type, of name: String, _ transport: any Transport)
        async throws
    {
        guard let replay = transport as? ReplayTransport, RecordedRun.isUnfinished(replay.run),
            try Mailbox(replay.run).find(outcome, name) == nil
        else { return }
        let path = mailbox.transcript(conversation)
        if replay.has(conversation), !Files.exists(path),
            try await workspace.commitOnMain(withTree: replay.recordedBase(of: conversation)) != nil
        {
            try Files.replace(path, Files.read(replay.recording(of: conversation).path))
        }
        throw AutonError(.tryAgain, "the recorded run was stopped before that", at: conversation)
    }

    /// Runs one conversation to its end.
    ///
    /// - Parameter prepare: tells the loop of what the tools work on.
    func converse(
        _ name: String, role: TeamRole, task: String, tools: [any AgentTool], closing: any AgentTool, baseTree: String,
        transport: any Transport, prepare: (inout AgentLoop) async throws -> Void = { _ in }
    ) async throws -> (ending: AgentEnding, provenance: Provenance) {
        let place = workspace.place(of: name)
        let facts = [
            "directory": Sandbox(place).inside(place), "turns": String(maxTurns),
            "shell_seconds": String(Int(limits.sandbox.seconds)),
            "shell_max_seconds": String(limits.shellMaxSeconds), "output_bytes": String(limits.sandbox.output),
            "reply_tokens": String(options.maxTokens), "memory_mib": String(limits.sandbox.memory >> 20),
        ]
        let opening = Transcript.Opening(
            conversation: name, role: role.rawValue, maxTokens: options.maxTokens,
            system: try options.openPrompts().load(role.rawValue, facts: facts),
            tools: (tools + [closing]).map(\.definition), baseTree: baseTree)
        let conversation = try Conversation(
            opening, at: mailbox.transcript(name), transport: transport, window: options.window(role)
        ) { complain($0) }
        var loop = AgentLoop(conversation: conversation, tools: tools, closing: closing, maxTurns: maxTurns)
        try await prepare(&loop)
        let ending = try await loop.run(task: task)
        return (ending, try await conversation.transcript.provenance())
    }
}
