import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The first recorded run, replayed through the real programs, compilers and boots; `make provenance` replays all.
@Suite struct ReplayTests {
    private static let runs = Program.package.appending("runs")
    private static let name = "01-minimal-boot"

    private func replay(_ name: String, _ run: LoopRun) async throws -> Outcome {
        var command = run.command("replay", name)
        command.environment["AUTON_MODEL"] = nil
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "ended with \(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }

    @Test func arrivesAtTheRecordedTree() async throws {
        let run = try await LoopRun()
        let name = Self.name
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

        // Another tree than the recorded one is no success.
        try LoopRun.copy(Self.runs.appending(name), to: run.directory["altered/\(name)"])
        try run.directory.write("altered/\(name)/tree", String(repeating: "0", count: 40) + "\n")
        var altered = run.command("run")
        altered.environment.merge([
            "AUTON_MAILBOX": "\(place)/mailbox", "AUTON_WORKSPACE": "\(place)/workspace", "AUTON_RUNS": "altered",
            "AUTON_MODEL": "replay:\(name)",
        ]) { $1 }
        let refused = try await altered.run()
        #expect(refused.ending == .exited(1))
        #expect(refused.output.text.contains("\ntree \(tree.prefix(40))"))
        #expect(refused.errors.text == "auton: the recorded tree is \(String(repeating: "0", count: 40))\n")

        // Recorded once more it is the same, and its kernel the workspace's.
        var record = run.command("record", "again")
        record.environment.merge([
            "AUTON_MAILBOX": "\(place)/mailbox", "AUTON_WORKSPACE": "\(place)/workspace", "AUTON_RUNS": "runs",
            "AUTON_KERNEL": "kernel",
        ]) { $1 }
        try Files.createDirectories(run.directory["kernel"])
        #expect(try await record.run().output.text == "recorded in runs/again; the kernel is in kernel\n")
        #expect(try run.directory.read("runs/again/tree") == tree)
        #expect(try run.directory.read("runs/again/goal.txt") == Files.readText(Self.runs.appending(name).appending("goal.txt")))
        var difference = Command("diff", ["-r", "-x", ".git", "-x", ".auton", "-x", "build", "kernel", "\(place)/workspace"])
        difference.directory = run.directory.path
        #expect(try await difference.run().succeeded)
        // It began with the protected part alone; one that begins with what it left comes after it.
        #expect(!Files.exists(run.directory["runs/again/after"]))
        var plan = run.command("plan", "--on-kernel", "--from", "input/plan.json")
        plan.environment["AUTON_KERNEL"] = "kernel"
        #expect(try await plan.run().ending == .exited(0))
        record.arguments[record.arguments.count - 1] = "more"
        record.environment["AUTON_WORKSPACE"] = "workspace"
        #expect(try await record.run().ending == .exited(0))
        #expect(try run.directory.read("runs/more/after") == "again\n")
    }

    @Test func recordingsThatComeAfterOneAnother() async throws {
        let run = try await LoopRun()
        for (name, before) in [("a", "b"), ("b", "a"), ("c", "gone")] {
            try run.directory.write("runs/\(name)/after", "\(before)\n")
            try run.directory.write("runs/\(name)/transcript/plan-1.jsonl", "")
        }
        for (name, status, error) in [
            ("a", 65, "a recording that comes after itself: a"), ("c", 78, "no recording gone (there are: a b c )"),
        ] {
            var command = run.command("replay", name)
            command.environment["AUTON_RUNS"] = "runs"
            let result = try await command.run()
            #expect(result.ending == .exited(Int32(status)) && result.errors.text == "auton: \(error)\n")
        }
    }
}
