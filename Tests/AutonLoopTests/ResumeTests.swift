import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// An attempt that is cut short goes on with the files that it had, whatever made them.
@Suite struct ResumeTests {
    private static let refs = ["for-each-ref", "--format=%(refname)", "refs/auton/"]
    private static let kept = "refs/auton/attempt/lib-001.1/1\nrefs/auton/attempt/lib-001.1/2"

    /// A run whose agent was cut short after two turns of commands that come to something else each time; the third reply ends the attempt.
    private func cutShort() async throws -> (run: LoopRun, git: Git) {
        let run = try await LoopRun(), git = Git(directory: run.directory["workspace/.git"])
        try await run.planOneTask()
        func answer(_ turn: Int, _ call: (name: String, input: JSONValue)) throws {
            try run.answer("lib-001.1.\(turn)", reply(call))
        }
        try answer(
            1, ("shell", ["command": "mkdir lib; echo \"/* $(od -An -N8 -tx1 /dev/urandom) */\" >lib/work.c; cat lib/work.c"]))
        try answer(2, ("shell", ["command": "echo 'int work;' >>lib/work.c; od -An -N8 -tx1 /dev/urandom"]))
        // The third answer is not there yet.
        #expect(try await run.auton("agent", "lib-001").status != 0)
        #expect(try await git.run(Self.refs) == Self.kept)
        try answer(3, ("finish", ["summary": "done"]))
        return (run, git)
    }

    @Test(arguments: [false, true]) func commandsAreNotRunAgain(checkpointsAreLost: Bool) async throws {
        let (run, git) = try await cutShort(), mailbox = Mailbox(run.directory["mailbox"])
        if checkpointsAreLost {
            for turn in 1...2 { try await git.run("update-ref", "-d", "refs/auton/attempt/lib-001.1/\(turn)") }
        }
        let outcome = try await run.auton("agent", "lib-001")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("differs from what was recorded") == checkpointsAreLost, "\(outcome.errors)")
        #expect(try await git.run(Self.refs).isEmpty)

        let candidate = try mailbox.get(Candidate.self, "lib-001.1")
        let requests = try Transcript(reading: mailbox.transcript("lib-001.1")).requests
        let result = try #require(requests[1].flatMap(\.toolResults).first)
        let made = try await git.run("show", "\(candidate.commit):lib/work.c")
        #expect(made.hasPrefix("/* ") && made.hasSuffix("\nint work;"))
        #expect(result.content.contains(made.split(separator: "\n")[0]) == !checkpointsAreLost)
    }

    /// What a turn's calls came to is kept until the candidate is filed: what cannot be handed in for now is not made again.
    @Test func checkpointsLastUntilTheCandidateIsFiled() async throws {
        let (run, git) = try await cutShort()
        // A branch below the attempt's, which therefore cannot be.
        let obstacle = "refs/heads/task/lib-001.1/obstacle"
        try await git.run("update-ref", obstacle, "main")
        #expect(try await run.auton("agent", "lib-001").status == ExitStatus.tryAgain.rawValue)
        #expect(try await git.run(Self.refs) == Self.kept)
        try await git.run("update-ref", "-d", obstacle)
        #expect(try await run.auton("agent", "lib-001") == Outcome(status: 0, output: "task/lib-001.1\n"))
        #expect(try await git.run(Self.refs).isEmpty)
        // Killed before they were removed.
        try await git.run("update-ref", "refs/auton/attempt/lib-001.1/1", "main")
        #expect(try await run.auton("agent", "lib-001") == Outcome(status: 0, output: "task/lib-001.1\n"))
        #expect(try await git.run(Self.refs).isEmpty)
    }

    /// A git that is killed leaves its locks; those of the attempt's refs go, and nobody needs that of the packed ones.
    @Test func locksOfAKilledGitAreNotInTheWay() async throws {
        let (run, git) = try await cutShort()
        try run.answer("lib-001.1.3", reply(("shell", ["command": "true"])))
        try run.answer("lib-001.1.4", reply(("finish", ["summary": "done"])))
        for name in ["refs/auton/attempt/lib-001.1/3", "refs/heads/task/lib-001.1", "packed-refs"] {
            try run.directory.write("workspace/.git/\(name).lock", "")
        }
        #expect(try await run.auton("agent", "lib-001") == Outcome(status: 0, output: "task/lib-001.1\n"))
        #expect(try await git.run(Self.refs).isEmpty)
    }
}
