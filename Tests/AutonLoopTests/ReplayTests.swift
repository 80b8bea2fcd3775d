import AutonKit
import AutonMessages
import AutonModel
import Glibc
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

    /// A run that was recorded before it was done is replayed as far as it went, and can be gone on with from there.
    @Test func aRunThatWasStopped() async throws {
        let run = try await LoopRun(), place = "build/replay/stopped"
        let whole = Self.runs.appending(Self.name), stopped = run.directory["runs/stopped"]
        // When its headers were merged, and the author of lib-001 was at work.
        let started = Set(
            ["plan/1", "goal/1", "merge/headers-001"] + ["candidate", "verdict", "review"].map { "\($0)/headers-001.1" })
        for kind in ["plan", "goal", "task", "merge", "candidate", "verdict", "review"] {
            try Files.createDirectories(stopped.appending(kind))
            for name in try Files.list(whole.appending(kind))
            where kind == "task" ? name.hasSuffix(".1.json") : started.contains("\(kind)/\(name.dropLast(5))") {
                try LoopRun.copy(whole.appending("\(kind)/\(name)"), to: stopped.appending("\(kind)/\(name)"))
            }
        }
        try Files.createDirectories(stopped.appending("transcript"))
        for name in ["plan-1", "headers-001.1", "headers-001.1.review"] {
            try LoopRun.copy(whole.appending("transcript/\(name).jsonl"), to: stopped.appending("transcript/\(name).jsonl"))
        }
        try LoopRun.copy(whole.appending("goal.txt"), to: stopped.appending("goal.txt"))
        for (name, text) in [("unfinished", "due"), ("tree", "gone"), ("progress.tsv", "run\t1\t\t\t0\t0\t")] {
            try run.directory.write("runs/stopped/\(name)", text + "\n")
        }
        func auton(_ words: String..., model: String? = nil, runs: String = "runs") async throws -> CommandResult {
            var command = run.command()
            command.arguments += words
            if words.first != "replay" {
                command.environment["AUTON_MAILBOX"] = "\(place)/mailbox"
                command.environment["AUTON_WORKSPACE"] = "\(place)/workspace"
            }
            if words.first == "record" { command.environment["AUTON_KERNEL"] = "kernel" }
            command.environment["AUTON_RUNS"] = runs
            command.environment["AUTON_MODEL"] = model
            return try await command.run()
        }
        let other = try await auton("replay", "stopped")
        #expect(other.ending == .exited(1) && other.errors.text == "auton: the recorded tree is gone\n", "\(other.errors.text)")

        // What was cut short is gone on with, and begun afresh once something is another that it goes by.
        let marker = run.directory["\(place)/marker"]
        try run.directory.write("\(place)/marker", "")
        #expect(try await auton("replay", "stopped").ending == .exited(1) && Files.exists(marker))
        try run.directory.write("runs/stopped/unfinished", "due\n")
        #expect(try await auton("replay", "stopped").ending == .exited(1) && !Files.exists(marker))

        let mailbox = Mailbox(run.directory["\(place)/mailbox"])
        let main = try #require(try mailbox.find(Merge.self, "headers-001")).tree
        try run.directory.write("runs/stopped/tree", try await auton("status", "--tree").output.text)
        // What the author had said was said on that tree.
        let transcript = whole.appending("transcript/lib-001.1.jsonl")
        let base = try #require(try Transcript(reading: transcript).opening).baseTree
        let said = try Files.readText(transcript).replacing(base, with: main).split(separator: "\n").prefix(3)
        try run.directory.write("runs/stopped/transcript/lib-001.1.jsonl", said.joined(separator: "\n") + "\n")
        let outcome = try await auton("run", model: "replay:stopped")
        #expect(outcome.ending == .exited(0), "\(outcome.errors.text)")
        #expect(outcome.output.text.contains("\nas far as stopped was recorded; with a model it goes on from here"))
        #expect(outcome.output.text.contains(", as recorded in stopped\n"))
        #expect(try run.directory.read("\(place)/mailbox/log/progress") == "run\t1\t\t\t0\t0\t\n")

        let model = "replay:\(Self.name)"
        #expect(try await auton("agent", "lib-001", model: model, runs: Self.runs.string).ending == .exited(0))
        let lines = try Files.readText(mailbox.transcript("lib-001.1")).split(separator: "\n")
        #expect(lines.prefix(3) == said && lines.count > 3)

        // It takes its own place.
        try Files.createDirectories(run.directory["kernel"])
        let recorded = try await auton("record", "stopped")
        let words = "recorded in runs/stopped, as far as it went; the kernel is in kernel\n"
        #expect(recorded.output.text == words, "\(recorded.errors.text)")
        #expect(try Files.list(stopped.appending("candidate")) == ["headers-001.1.json", "lib-001.1.json"])
        #expect(!Files.exists(stopped.appending("after")))
    }

    /// SwiftPM's directory of programs is a link.
    @Test func newerProgramsBeginItAfresh() async throws {
        let run = try await LoopRun(), marker = run.directory["build/replay/one/marker"]
        func build(_ name: String) throws {
            let program = try run.directory.write(
                "programs/auton-\(name)", "#!/bin/sh\nexec '\(Program.directory)/auton-\(name)' \"$@\"\n")
            chmod(program.string, 0o755)
        }
        for name in ["config", "plan", "status", "validate"] { try build(name) }
        symlink("programs", run.directory["release"].string)
        // It has no more than its goal, so that it is cut short at once.
        try run.directory.write("runs/one/goal.txt", "Count")
        try Files.createDirectories(run.directory["runs/one/transcript"])
        var replay = run.command("replay", "one")
        replay.environment.merge(["AUTON_BIN": "release", "AUTON_RUNS": "runs"]) { $1 }
        #expect(try await replay.run().ending == .exited(65))
        try Files.write(marker, [], sync: false)
        #expect(try await replay.run().ending == .exited(65) && Files.exists(marker))
        try build("plan")
        #expect(try await replay.run().ending == .exited(65) && !Files.exists(marker))
    }

    /// What main does not have goes from kernel/, but for what is the user's and what was built.
    @Test func aRecordingLeavesNothingOfAnotherKernel() async throws {
        let run = try await LoopRun()
        let plan = try CompactJSON.decode(JSONValue.self, from: Files.read(run.directory["input/plan.json"]), at: "plan.json")
        try run.answer("plan-1.1", reply(("submit_plan", ["tasks": #require(plan["tasks"])])))
        #expect(try await run.auton("plan", "Count").status == 0)
        let kept = ["spec/mine.md", "build/kernel.elf", ".gitignore"], gone = ["boot/gone/old.c", "include/old.h"]
        for name in kept + gone { try run.directory.write("kernel/\(name)", "") }
        var record = run.command("record", "one")
        record.environment.merge(["AUTON_RUNS": "runs", "AUTON_KERNEL": "kernel"]) { $1 }
        #expect(try await record.run().output.text == "recorded in runs/one, as far as it went; the kernel is in kernel\n")
        var main = try run.directory.contents(of: "workspace", without: [".git", ".auton"])
        for name in kept { main[name] = "" }
        #expect(try run.directory.contents(of: "kernel") == main)
        #expect(!Files.exists(run.directory["kernel/boot"]))
    }

    @Test func recordingsThatComeAfterOneAnother() async throws {
        let run = try await LoopRun()
        for (name, before) in [("a", "b"), ("b", "a"), ("c", "gone")] {
            try run.directory.write("runs/\(name)/after", "\(before)\n")
            try run.directory.write("runs/\(name)/transcript/plan-1.jsonl", "")
        }
        for (name, status, error) in [
            ("a", 65, "a recording that comes after itself: a"), ("c", 78, "no recording gone (there are: a, b, c)"),
        ] {
            var command = run.command("replay", name)
            command.environment["AUTON_RUNS"] = "runs"
            let result = try await command.run()
            #expect(result.ending == .exited(Int32(status)) && result.errors.text == "auton: \(error)\n")
        }
    }
}
