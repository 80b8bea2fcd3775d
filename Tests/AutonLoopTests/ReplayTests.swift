import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The recorded runs, replayed through the real programs, compilers and boots.
@Suite struct ReplayTests {
    static let runs = Program.package.appending("runs")

    private func replay(_ name: String, _ run: LoopRun) async throws -> Outcome {
        var command = run.command("replay", name)
        command.environment["AUTON_MODEL"] = nil
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "ended with \(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }

    @Test(arguments: try Files.list(runs).filter { Files.isDirectory(runs.appending($0)) })
    func arrivesAtTheRecordedTree(_ name: String) async throws {
        let run = try LoopRun()
        let outcome = try await replay(name, run)
        #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
        let tree = try Files.readText(Self.runs.appending(name).appending("tree"))
        #expect(outcome.output.contains("\ntree \(tree.prefix(40))"))
        #expect(outcome.output.contains(", as recorded in \(name)\n"))
        let place = "build/replay/\(name)"
        let look =
            "to look at it: git -C \(place)/workspace log --stat; \(Program.package)/auton status --mailbox \(place)/mailbox\n"
        #expect(outcome.output.hasSuffix("\n" + look))
        #expect(outcome.output.contains("\n    AUTON kernel 0.1 x86_64\n"))
    }

    /// The spec has moved on since the recording, so that no tree on the way is the recorded one; the agents' part still is.
    @Test func anotherTreeThanTheRecordedOneIsNoSuccess() async throws {
        let run = try LoopRun()
        let name = "01-minimal-boot"
        try LoopRun.copy(Program.package.appending("kernel"), to: run.directory["kernel"])
        try run.directory.write("kernel/spec/more.md", "# more\n")
        try LoopRun.copy(Self.runs.appending(name), to: run.directory["runs/\(name)"])
        try run.directory.write("runs/\(name)/tree", String(repeating: "0", count: 40) + "\n")
        var command = run.command("replay", name)
        command.environment["AUTON_MODEL"] = nil
        command.environment["AUTON_RUNS"] = "runs"
        command.environment["AUTON_KERNEL"] = "kernel"
        let result = try await command.run()
        #expect(result.ending == .exited(1))
        let tree = try Files.readText(Self.runs.appending(name).appending("tree")).prefix(40)
        #expect(result.output.text.contains("\ntree \(tree)"))
        #expect(result.errors.text == "auton: the recorded tree is \(String(repeating: "0", count: 40))\n")
    }
}
