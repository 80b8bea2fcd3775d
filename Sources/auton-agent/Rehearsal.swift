import AutonAgents
import AutonKit
import AutonMessages
import AutonModel
import SystemPackage

/// What a recorded attempt handed in, made again from its writes alone.
///
/// Most of a conversation's time goes into what the agent tried on the way: builds, boots, mutants of its own code. None
/// of that has a part in the result but through the files it leaves, so the writes and edits are done, the commands
/// are not, and the agents' part of the tree that comes out must be the recorded one. If it is not (a command changed a
/// file), or if the replay is strict, the conversation is gone through whole. The gate judges the candidate the same
/// either way.
struct Rehearsal {
    var recorded: Candidate
    var transcript: Transcript

    /// Nil unless `transport` replays, not strictly, a run that has both the conversation and what came of it.
    init?(of task: TaskMessage, _ transport: any Transport) throws {
        guard let replay = transport as? ReplayTransport, !replay.strict,
            let recorded = try Mailbox(replay.run).find(Candidate.self, task.name)
        else { return nil }
        self.recorded = recorded
        transcript = try replay.recording(of: task.name)
    }

    /// Does the writes in `worktree`, which started from `baseTree`; false if another tree than the recorded one came of them.
    func perform(in worktree: Worktree, _ directory: ConfinedDirectory, _ workspace: Workspace, baseTree: String) async throws
        -> Bool
    {
        let tools = writingTools(directory)
        for call in transcript.responses.flatMap(\.toolUses) {
            guard let tool = tools.first(where: { $0.definition.name == call.name }),
                JSONSchema(tool.definition.inputSchema).problems(in: call.input).isEmpty
            else { continue }
            _ = try await tool.call(call.input)
        }
        let tree = try await worktree.writeTree()
        if let agentTree = recorded.agentTree { return try await workspace.agentTree(of: tree) == agentTree }
        // Recorded before candidates told their agents' tree: nothing to compare with once the user's side has moved on,
        // but for the end of the whole replay.
        return tree == recorded.tree || baseTree != recorded.baseTree
    }

    /// Puts the recorded conversation in the mailbox's, as it was.
    func keepTranscript(at path: FilePath) async throws -> Provenance {
        try Files.replace(path, try Files.read(transcript.path))
        return try await transcript.provenance()
    }

    var ending: AgentEnding {
        guard recorded.outcome == .finished else { return .gaveUp(recorded.summary) }
        var input: [String: JSONValue] = ["summary": .string(recorded.summary)]
        if let slower = recorded.slower {
            input["slower"] = .array(slower.map { ["bench": .string($0.bench), "why": .string($0.why)] })
        }
        return .finished(.object(input))
    }
}
