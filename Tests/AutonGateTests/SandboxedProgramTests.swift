import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// The gate's program and the sandbox around what it runs.
@Suite struct SandboxedProgramTests {
    private static let programs = Tools.running.removingLastComponent()

    private func run(
        _ program: String, _ arguments: [String], path: String = "/usr/bin:/bin", stop: (@Sendable () -> Bool)? = nil
    ) async throws -> CommandResult {
        var command = Command(Self.programs.appending(program).string, arguments)
        command.environment["PATH"] = path
        command.timeLimit = 280
        command.stop = stop
        return try await command.run()
    }

    @Test func whatIsKilledTakesItsSandboxWithIt() async throws {
        let tree = try Temporary(), mark = "3\(getpid())"
        try tree.write(["Makefile": "all:\n\t@setsid sleep \(mark) & trap '' HUP TERM; sleep \(mark)\n"])
        @Sendable func sleepers() throws -> Int {
            try Files.list("/proc").count {
                (try? Files.readText(FilePath("/proc/\($0)/cmdline"))) == "sleep\0\(mark)\0"
            }
        }
        let gate = try await run("auton-validate", ["--directory", tree.path.string]) { (try? sleepers()) == 2 }
        #expect(gate.ending == .timedOut)
        for _ in 0..<200 where try sleepers() > 0 { try await Task.sleep(for: .milliseconds(50)) }
        #expect(try sleepers() == 0)
    }

    @Test func withoutASandboxTheVerdictSaysSo() async throws {
        let scene = try await TestWorkspace()
        let mailbox = Mailbox(scene.directory.path.appending("mailbox")), task = TaskMessage.sample()
        try mailbox.prepare()
        try mailbox.file(task)
        let code = "#include \"harness.h\"\n\nKTEST(demo, one)\n{\n\tKASSERT_EQ(2, 2);\n}\n"
        let commit = try await scene.commit(["tests/demo.c": .write(code)]), main = try await scene.workspace.main()
        try mailbox.file(
            Candidate(
                task: task.task, attempt: 1, branch: Workspace.branch(task.id), commit: commit,
                tree: try await scene.git.tree(of: commit), base: main, baseTree: try await scene.git.tree(of: main),
                outcome: .finished, summary: "",
                provenance: Provenance(model: "m", transcript: "x", turns: 1, usage: TokenUsage())))
        // Where there is no bubblewrap.
        let tools = scene.directory.path.appending("bin")
        try Files.createDirectories(tools)
        for name in ["git", "make", "gcc", "nasm", "ld", "qemu-system-x86_64", "env", "sha256sum", "taskset"] {
            symlink("/usr/bin/\(name)", tools.appending(name).string)
        }
        let places = ["--mailbox", mailbox.root.string, "--workspace", scene.workspace.root.string]
        let result = try await run("auton-validate", places + ["--unsafe-no-sandbox", "demo-001"], path: tools.string)
        #expect(result.ending == .exited(0), "\(result.output.text)")
        #expect(result.output.text.hasSuffix("\ndemo-001.1 accepted, without a sandbox\n"))
        #expect(
            result.errors.text == "auton-validate: WITHOUT A SANDBOX: what a model wrote can read and send all that you can\n")
        #expect(try mailbox.get(Verdict.self, "demo-001.1").unsandboxed == true)
        let status = try await run("auton-status", places)
        #expect(status.output.text.hasSuffix("\n1 of the verdicts WITHOUT A SANDBOX\n"))
    }
}
