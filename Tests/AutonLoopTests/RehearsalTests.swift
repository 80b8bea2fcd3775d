import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// A recorded attempt is made again without its builds and boots, as long as they have no part in the tree.
@Suite struct RehearsalTests {
    /// - Parameter counts: whether what a compiler says goes into a file.
    @Test(arguments: [false, true]) func whatACommandLeavesWithoutItsBuild(counts: Bool) async throws {
        let run = try await LoopRun()
        try await run.planOneTask()
        let said = counts ? "gcc -dumpversion" : "echo 1"
        let command = "mkdir lib; echo \"int work; /* $(\(said)) */\" >lib/work.c; make -s; od -An -N8 -tx1 /dev/urandom"
        try run.answer("lib-001.1.1", reply(("shell", ["command": .string(command)])))
        try run.answer("lib-001.1.2", reply(("finish", ["summary": "done"])))
        #expect(try await run.auton("agent", "lib-001").status == 0)
        let recorded = try Mailbox(run.directory["mailbox"]).get(Candidate.self, "lib-001.1")

        for kind in ["candidate", "transcript"] {
            try LoopRun.copy(run.directory["mailbox/\(kind)"], to: run.directory["runs/one/\(kind)"])
            try Files.removeTree(run.directory["mailbox/\(kind)"])
        }
        try LoopRun.copy(run.directory["mailbox/task"], to: run.directory["runs/one/task"])
        let again = try await run.auton("agent", "lib-001", "--model", "replay:one", "--runs", "runs")
        #expect(again.status == 0, "\(again.errors)")
        // Only what is gone through whole prints another number.
        #expect(again.errors.contains("drift at ") == counts, "\(again.errors)")
        let candidate = try Mailbox(run.directory["mailbox"]).get(Candidate.self, "lib-001.1")
        #expect(candidate.agentTree == recorded.agentTree && candidate.outcome == .finished)
    }
}
