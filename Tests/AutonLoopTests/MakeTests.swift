import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The scheduler alone, with a script in place of whoever carries a task.
@Suite struct MakeTests {
    /// A message is filed once: make takes none back, be it that its step fails after that, or that a signal comes.
    @Test(arguments: ["exit 75", "until test -s make; do sleep 0.01; done; kill -TERM $(cat make); exec sleep 30"])
    func whatIsFiledStays(end: String) async throws {
        let directory = try TemporaryDirectory()
        try directory.write("mailbox/graph.mk", "TASKS := lib-001\n")
        try directory.write("mailbox/merge/other-001.json", "{}\n")
        try directory.write("step", "#!/bin/sh\necho '{}' >mailbox/merge/$2.json\n\(end)\n")
        let script = """
            chmod +x step
            AUTON=./step AUTON_DIRECTORY=$PWD make -s -k -C mailbox -f \(Program.package)/mk/loop.mk & echo $! >make; wait
            """
        let outcome = try await Program.run("sh", ["-c", script], in: directory.path)
        #expect(outcome.errors.contains("Error 75") || outcome.errors.contains("Terminated"), "\(outcome.errors)")
        #expect(try Files.list(directory["mailbox/merge"]) == ["lib-001.json", "other-001.json"], "\(outcome.errors)")
    }
}
