import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// An attempt that is cut short goes on with the files that it had, whatever made them.
@Suite struct ResumeTests {
    @Test(arguments: [false, true]) func commandsAreNotRunAgain(checkpointsAreLost: Bool) async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        try await run.planOneTask()
        func answer(_ turn: Int, _ call: (name: String, input: JSONValue)) throws {
            try run.answer("lib-001.1.\(turn)", reply(call))
        }
        try answer(
            1, ("shell", ["command": "mkdir lib; echo \"/* $(od -An -N8 -tx1 /dev/urandom) */\" >lib/work.c; cat lib/work.c"]))
        try answer(2, ("shell", ["command": "echo 'int work;' >>lib/work.c; od -An -N8 -tx1 /dev/urandom"]))
        // The third answer is not there yet.
        #expect(try await run.auton("agent", "lib-001").status != 0)
        let git = Git(directory: run.directory["workspace/.git"]), refs = ["for-each-ref", "--format=%(refname)", "refs/auton/"]
        #expect(try await git.run(refs) == "refs/auton/attempt/lib-001.1/1\nrefs/auton/attempt/lib-001.1/2")
        if checkpointsAreLost {
            for turn in 1...2 { try await git.run("update-ref", "-d", "refs/auton/attempt/lib-001.1/\(turn)") }
        }
        try answer(3, ("finish", ["summary": "done"]))
        let outcome = try await run.auton("agent", "lib-001")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("differs from what was recorded") == checkpointsAreLost, "\(outcome.errors)")
        #expect(try await git.run(refs).isEmpty)

        let candidate = try mailbox.get(Candidate.self, "lib-001.1")
        let requests = try Transcript(reading: mailbox.transcript("lib-001.1")).requests
        let result = try #require(requests[1].flatMap(\.toolResults).first)
        let made = try await git.run("show", "\(candidate.commit):lib/work.c")
        #expect(made.hasPrefix("/* ") && made.hasSuffix("\nint work;"))
        #expect(result.content.contains(made.split(separator: "\n")[0]) == !checkpointsAreLost)
    }
}
