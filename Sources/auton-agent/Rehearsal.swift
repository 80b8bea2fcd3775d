import AutonAgents
import AutonKit
import AutonMessages
import AutonModel
import SystemPackage

/// What a recorded attempt handed in, made again without what the agent tried.
///
/// Most of a conversation's time goes into what the agent tried on the way: builds, boots, mutants of its own code. None
/// of that has a part in the result but through the files it leaves. So the writes and edits are done, the commands are not, and the
/// agents' part of the tree that comes out must be the recorded one. If it is not, since a command changed a file, the commands are
/// done too, but what they build and boot with does nothing. If that does not give the tree either, or if the replay is strict, the
/// conversation is gone through whole. The gate judges the candidate the same in any case.
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
    ///
    /// - Parameter shell: does the commands, if they are to be done.
    func perform(
        in worktree: Worktree, _ directory: ConfinedDirectory, _ workspace: Workspace, baseTree: String, shell: IdleShell? = nil
    ) async throws -> Bool {
        let tools = writingTools(directory) + (shell.map { [$0] } ?? [])
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
        guard recorded.outcome == .finished else { return .gaveUp(Surrender(recorded.summary)) }
        var input: [String: JSONValue] = ["summary": .string(recorded.summary)]
        if let slower = recorded.slower {
            input["slower"] = .array(slower.map { ["bench": .string($0.bench), "why": .string($0.why)] })
        }
        return .finished(.object(input))
    }
}

/// The shell of a rehearsal: who calls a compiler, a linker or a machine there is told that all went well, and gets nothing for it.
struct IdleShell: AgentTool {
    let shell: ShellTool

    private static let idle = "make gcc cc ld nasm qemu-system-x86_64 sleep"
    /// What waits for the end of a boot waits for good. In seconds.
    private static let patience = 20.0

    init(_ sandbox: SandboxSession, _ limits: RunLimits) {
        var limits = limits
        limits.sandbox.seconds = min(limits.sandbox.seconds, Self.patience)
        shell = ShellTool(sandbox: sandbox, limits: limits)
    }

    var definition: Tool { shell.definition }

    func call(_ input: JSONValue) async throws -> ToolOutput {
        let command = """
            mkdir /tmp/.idle && for name in \(Self.idle); do printf '#!/bin/sh\\n' >/tmp/.idle/$name && chmod +x /tmp/.idle/$name; done
            PATH=/tmp/.idle:$PATH
            \(input["command"]?.string ?? "")
            """
        return try await shell.call(.object(["command": .string(command)]))
    }
}
