import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What users get wrong, and what machines lack: one clear line, the documented status, nothing lost.
@Suite struct BadInputTests {
    private func planned() async throws -> LoopRun {
        let run = try await LoopRun()
        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        return run
    }

    @Test func noSuchTask() async throws {
        let run = try await planned()
        for program in ["agent", "validate", "merge"] {
            let outcome = try await run.auton(program, "lib-999")
            #expect(outcome == Outcome(status: 65, errors: "auton-\(program): no such task: lib-999\n"))
        }
    }

    @Test func noSuchTaskAndNoWorkspace() async throws {
        let run = try await LoopRun()
        for program in ["agent", "validate", "merge"] {
            let outcome = try await run.auton(program, "lib-999")
            #expect(outcome == Outcome(status: 65, errors: "auton-\(program): no such task: lib-999\n"))
        }
    }

    @Test(arguments: [
        ("statsu", "; did you mean status?"), ("agnet", "; did you mean agent?"), ("runs", "; did you mean run?"), ("xyzzy", ""),
        ("", ""),
    ])
    func noSuchCommand(_ command: String, _ meant: String) async throws {
        let outcome = try await LoopRun().auton(command)
        #expect(outcome == Outcome(status: 64, errors: "auton: no such command: \(command)\(meant) (auton --help)\n"))
    }

    /// An unknown option is named before what is missing is.
    @Test(arguments: [["plan", "--hepl"], ["plan", "--repaln"], ["agent", "--hepl"], ["validate", "--selfcheck"]])
    func noSuchOption(_ words: [String]) async throws {
        let outcome = try await LoopRun().auton(words)
        #expect(outcome.status == 64 && outcome.output == "")
        #expect(outcome.errors.hasPrefix("auton-\(words[0]): Unknown option '\(words[1])'"), "\(outcome.errors)")
    }

    @Test func anOptionAfterTheGoalIsNoPartOfIt() async throws {
        let run = try await LoopRun()
        #expect(
            try await run.auton("run", "x", "--mailbox", "ro")
                == Outcome(
                    status: 64,
                    errors: "auton: no such option: --mailbox (auton --help; a goal with such words comes after --)\n"))
        #expect(!Files.exists(run.directory["mailbox"]))
        try run.directory.write("input/model", "exit 1\n")
        #expect(try await run.auton("run", "Show", "--", "--mailbox").status == 69)
        #expect(try Mailbox(run.directory["mailbox"]).get(Goal.self, "1").text == "Show --mailbox")
    }

    @Test(arguments: ["setpriv", "flock"])
    func theFrontNamesWhatItLacks(tool: String) async throws {
        let run = try await LoopRun()
        for name in ["sh", "dirname", "cat", "env", "setpriv", "flock"] where name != tool {
            let found = try #require(Tools.find(name))
            try Files.createDirectories(run.directory["bin"])
            symlink(found.string, run.directory["bin"].appending(name).string)
        }
        var command = run.command("run", "A goal")
        command.environment["PATH"] = run.directory["bin"].string
        let result = try await command.run()
        #expect(result.ending == .exited(69))
        #expect(result.errors.text == "auton: \(tool) is missing: install the package util-linux, or run make deps\n")
    }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)")) func aFullDisk() async throws {
        let run = try await LoopRun()
        let disk = try Mount(at: run.directory["mailbox"], bytes: 1 << 20)
        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        try run.directory.write("mailbox/fill", String(repeating: "x", count: disk.free))
        #expect(try await run.auton("run") == Outcome(status: 75, errors: "auton: the disk is full: mailbox\n"))
        // Full in the middle: by the first turn.
        try Files.removeTree(run.directory["mailbox/fill"])
        try run.directory.write("input/model", "cat /dev/zero >mailbox/fill 2>/dev/null; exit 1\n")
        let outcome = try await run.auton("run")
        #expect(outcome.status == 75)
        #expect(outcome.errors == "auton: the disk is full: mailbox; run again to go on once there is room\n")
    }

    /// No process has such an id; process 1 is at work.
    @Test func whatKilledJudgementsByHandLeft() async throws {
        let run = try await planned()
        for process in ["99999999", "1"] {
            try run.directory.write("workspace/.auton/lock/gate-by-hand-\(process)", "")
            try run.directory.write("workspace/.auton/worktree/gate-by-hand-\(process)/Makefile", "")
            try run.directory.write("workspace/.auton/worktree/gate-by-hand-\(process).index", "")
        }
        #expect(try await run.auton("validate", "--commit", "main").status == 65)
        #expect(try Files.list(run.directory["workspace/.auton/lock"]).filter { $0.hasPrefix("gate") } == ["gate-by-hand-1"])
        #expect(
            try Files.list(run.directory["workspace/.auton/worktree"]) == ["gate-by-hand-1", "gate-by-hand-1.index"])
    }

    @Test func anotherBranchInTheWorkspace() async throws {
        let run = try await planned()
        for arguments in [["agent"], ["validate"], ["agent", "--role", "reviewer"]] {
            #expect(try await run.auton(arguments + ["lib-001"]).status == 0)
        }
        let root = run.directory["workspace"]
        #expect(try await Command("git", ["-C", root.string, "checkout", "--quiet", "-b", "mine"]).run().succeeded)
        #expect(
            try await run.auton("merge", "lib-001")
                == Outcome(
                    status: 75,
                    errors: "auton-merge: the workspace has mine checked out; git -C \(root) checkout main: \(root)\n"))
    }

    @Test func anAgentWithoutATask() async throws {
        let outcome = try await LoopRun().auton("agent")
        #expect(outcome.status == 64 && outcome.output == "")
        #expect(outcome.errors.hasPrefix("auton-agent: no task (boot-002, or an attempt at it: boot-002.1)\nUsage: auton-agent "))
    }

    @Test func stagesOutOfOrder() async throws {
        let run = try await planned()
        #expect(
            try await run.auton("agent", "lib-002").errors == "auton-agent: depends on lib-001, not merged yet: lib-002.1\n")
        #expect(
            try await run.auton("agent", "--role", "reviewer", "lib-001").errors
                == "auton-agent: no verdict on it yet: lib-001.1\n")
        #expect(
            try await run.auton("merge", "lib-001")
                == Outcome(status: 75, errors: "auton-merge: has no candidate yet: lib-001.1\n"))
    }

    @Test func aMissingToolIsNamedWithItsPackage() async throws {
        let run = try await planned()
        try Files.createDirectories(run.directory["bin"])
        for tool in ["sh", "git", "make", "gcc", "nasm", "ld", "bwrap", "prlimit", "setpriv", "dirname", "cat"] {
            let found = try #require(Tools.find(tool))
            symlink(found.string, run.directory["bin"].appending(tool).string)
        }
        var command = run.command("agent", "lib-001")
        command.environment["PATH"] = run.directory["bin"].string
        let result = try await command.run()
        #expect(result.ending == .exited(69))
        #expect(
            result.errors.text
                == "auton-agent: qemu-system-x86_64 is missing: install the package qemu-system-x86, or run make deps\n")
    }

    @Test func localChangesInTheWorkspace() async throws {
        let run = try await planned()
        for arguments in [["agent"], ["validate"], ["agent", "--role", "reviewer"]] {
            #expect(try await run.auton(arguments + ["lib-001"]).status == 0)
        }
        try run.directory.write("workspace/spec/README.md", "my notes")
        let outcome = try await run.auton("merge", "lib-001")
        #expect(outcome.status == 75)
        #expect(outcome.errors.hasPrefix("auton-merge: the workspace has local changes (spec/README.md)"))
        #expect(try run.directory.read("workspace/spec/README.md") == "my notes")
        #expect(!Files.exists(run.directory["mailbox/merge/lib-001.json"]))
    }

    @Test func garbageInTheMailbox() async throws {
        let run = try await planned()
        try run.directory.write("mailbox/task/lib-002.1.json", "{")
        try run.directory.write("mailbox/candidate/lib-001.1.json", "not a message")
        let outcome = try await run.auton("validate", "lib-001")
        #expect(outcome.status == 65)
        #expect(Files.exists(run.directory["mailbox/dead/candidate-lib-001.1.json.reason"]))
        #expect(try await run.auton("agent", "lib-001").output == "task/lib-001.1\n")
        // A first attempt is made anew from the plan.
        #expect(try await run.auton("agent", "lib-002").status == 65)
        #expect(Files.exists(run.directory["mailbox/dead/task-lib-002.1.json.reason"]))
        #expect(
            try await run.auton("agent", "lib-002").errors == "auton-agent: depends on lib-001, not merged yet: lib-002.1\n")
    }

    @Test func aPlanByHandIsNotRecorded() async throws {
        let run = try await planned()
        var record = run.command("record", "one")
        record.environment["AUTON_RUNS"] = "runs"
        let result = try await record.run()
        #expect(result.ending == .exited(65))
        #expect(result.errors.text == "auton: the first plan was made by hand; what can be replayed begins with a goal\n")
        #expect(!Files.exists(run.directory["runs"]))
    }

    @Test func bootsFromAnyPath() async throws {
        let run = try await LoopRun()
        let kernel = Program.package.appending("kernel"), tree = run.directory["it's a tree"]
        try Files.createDirectories(tree)
        for name in try Files.list(kernel) where !["build", "acceptance", "tests"].contains(name) {
            try LoopRun.copy(kernel.appending(name), to: tree.appending(name))
        }
        let outcome = try await run.auton("boot", "it's a tree")
        #expect(outcome.status == 0)
        #expect(outcome.output.hasSuffix("ready\r\n"))
    }

    /// Make believes a merge by its name: what is none must not pass for one.
    @Test(arguments: ["echo garbage >", "mkfifo", "ln -s /etc/passwd"])
    func whatIsNoMergeIsSetAside(command: String) async throws {
        let run = try await planned()
        let name = run.directory["mailbox/merge/lib-001.json"].string
        #expect(try await Program.run("sh", ["-c", "\(command) \(name)"]).status == 0)
        let outcome = try await run.auton("status", "--json")
        #expect(outcome.status == 0 && outcome.output.contains("attempt 1: agent is due"))
        #expect(Files.exists(run.directory["mailbox/dead/merge-lib-001.json.reason"]))
    }

    /// A run that ended while it planned is gone on with, by the same model.
    @Test func aGoalThatIsNotPlannedYetIsGoneOnWith() async throws {
        let run = try await LoopRun()
        try run.directory.write("input/model", "exit 1\n")
        #expect(try await run.auton("run", "Count up and down").status == 69)
        try run.directory.write("input/model", "cat >>asked; exit 1\n")
        var again = run.command("run")
        again.environment["AUTON_MODEL"] = nil
        #expect(try await again.run().ending == .exited(69))
        #expect(try run.directory.read("asked").contains("Count up and down"))
        // Nor is one forgotten that comes after others.
        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        #expect(try await run.auton("run", "Count in threes").status == 69)
        try run.directory.write("asked", "")
        #expect(try await again.run().ending == .exited(69))
        #expect(try run.directory.read("asked").contains("Count in threes"))
    }

    /// Nor is a plan forgotten that a kill left without its tasks, be it the first or one that came to others.
    @Test func aPlanWithoutItsTasksIsGoneOnWith() async throws {
        let run = try await planned(), mailbox = Mailbox(run.directory["mailbox"])
        for task in try mailbox.names(.task) { try Files.removeTree(mailbox.path(.task, task)) }
        try Files.removeTree(run.directory["mailbox/graph.mk"])
        try run.directory.write("mailbox/log/model", "exec:sh input/model\n")
        // In place of carrying a task it says which it was given.
        try run.directory.write("launch", "echo \"$3 $AUTON_MODEL\" >>seen; exit 1\n")
        var again = run.command("run")
        again.environment["AUTON_MODEL"] = nil
        again.environment["LAUNCH"] = "sh launch"
        #expect(try await again.run().ending == .exited(75))
        #expect(try run.directory.read("seen").contains("lib-001 exec:sh input/model\n"))
        try mailbox.file(Plan(number: 2, goal: "", tasks: [plannedTask("boot-009")], amendments: [], provenance: nil))
        #expect(try await again.run().ending == .exited(75))
        #expect(try run.directory.read("seen").contains("boot-009 "))
        #expect(mailbox.has(.task, "boot-009.1") && mailbox.has(.task, "lib-001.1"))
    }

    @Test(arguments: [
        ("", 64, "the goal is empty"), (" \n", 64, "the goal is empty"), ("x", 65, "the goal is over 65536 bytes"),
    ])
    func aGoalThatIsNone(goal: String, status: Int32, error: String) async throws {
        let run = try await LoopRun()
        var command = run.command("run", goal == "x" ? String(repeating: goal, count: 65_537) : goal)
        command.environment["AUTON_MODEL"] = nil
        let result = try await command.run()
        #expect(result.ending == .exited(status) && result.errors.text == "auton: \(error)\n", "\(result.errors.text)")
    }

    @Test func noGoalWhereNothingIsBegun() async throws {
        #expect(try await LoopRun().auton("run") == Outcome(status: 64, errors: "auton: no goal, and nothing is begun\n"))
    }

    @Test(arguments: [
        (["reset", "everything"], "reset takes no argument: everything"), (["watch", "x"], "watch takes no argument: x"),
        (["record", "a", "b"], "record takes one argument: a b"), (["replay", "a", "b"], "replay takes one argument: a b"),
        (["boot", "a", "b"], "boot takes one argument: a b"),
    ])
    func wordsTooMany(_ words: [String], _ error: String) async throws {
        #expect(try await LoopRun().auton(words) == Outcome(status: 64, errors: "auton: \(error) (auton --help)\n"))
    }

    /// What is not ours stays, whatever the configuration says.
    @Test func aResetRemovesNothingOfOthers() async throws {
        let run = try await LoopRun()
        try run.directory.write("workspace/precious", "keep")
        try run.directory.write("mailbox/tmp/precious", "keep")
        #expect(
            try await run.auton("reset")
                == Outcome(
                    status: 78,
                    errors: "auton: not a workspace of auton's, so it is not removed: workspace\n"))
        try Files.removeTree(run.directory["workspace"])
        #expect(try await run.auton("reset") == Outcome(status: 0))
        #expect(try run.directory.read("mailbox/tmp/precious") == "keep")

        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        try run.directory.write("mailbox/notes", "mine")
        #expect(try await run.auton("reset") == Outcome(status: 0))
        #expect(try run.directory.contents(of: "mailbox") == ["notes": "mine"])
        #expect(!Files.exists(run.directory["workspace"]))
    }

    @Test(arguments: ["run", "replay", "watch", "record", "boot", "reset"])
    func anOptionIsNoGoal(command: String) async throws {
        let run = try await LoopRun()
        let help = try await run.auton(command, "--help")
        #expect(help.status == 0 && help.output.hasPrefix("usage: auton COMMAND"))
        #expect(
            try await run.auton(command, "--halp")
                == Outcome(status: 64, errors: "auton: no such option: --halp (auton --help)\n"))
        #expect(!Files.exists(run.directory["mailbox"]))
    }

    @Test func resetBeginsAfresh() async throws {
        let run = try await planned()
        try run.directory.write("mailbox/README.md", "kept")
        #expect(try await run.auton("reset").status == 0)
        #expect(try Files.list(run.directory["mailbox"]) == ["README.md"])
        #expect(!Files.exists(run.directory["workspace"]))
    }

    @Test func aGoalWithoutAModel() async throws {
        let run = try await LoopRun()
        var command = run.command("run", "Do something else")
        command.environment["AUTON_MODEL"] = nil
        let result = try await command.run()
        #expect(result.ending == .exited(78))
        #expect(result.errors.text.hasPrefix("auton: a goal or plan of your own needs a model: "))
    }

    @Test func aGoalThatIsNotTheRecordedOne() async throws {
        let run = try await LoopRun()
        var command = run.command("plan", "Do something else")
        command.environment["AUTON_MODEL"] = nil
        let result = try await command.run()
        #expect(result.ending == .exited(78))
        #expect(
            result.errors.text.hasPrefix(
                "auton-plan: the recording is of another goal; a goal of your own needs a model (ANTHROPIC_API_KEY, --model exec:COMMAND, file:DIR or http://127.0.0.1:PORT): "
            ))
        #expect(try run.directory.contents(of: "mailbox/transcript") == [:])
        // Nothing is begun that a later run would go on with.
        #expect(try run.directory.contents(of: "mailbox/goal") == [:])
    }

    /// The recorded run may have a task of the same name.
    @Test func aTaskThatIsNotTheRecordedOne() async throws {
        let run = try await planned()
        let tasks = try Files.list(run.directory["mailbox/task"]), name = String(tasks[0].dropLast(5))
        try run.directory.write("runs/07-one/transcript/\(name).jsonl", "")
        let outcome = try await run.auton("agent", "--model", "replay:07-one", "--runs", "runs", String(name.dropLast(2)))
        #expect(outcome.status == 78)
        #expect(
            outcome.errors.hasPrefix(
                "auton-agent: the recording has another task of that name, or none; a plan of your own needs a model ("))
    }

    @Test(arguments: ["status", "plan", "agent", "boot", "reset"]) func programsThatAreNotBuilt(command: String) async throws {
        let run = try await LoopRun()
        var front = run.command(command)
        front.environment["AUTON_BIN"] = "/nowhere"
        let result = try await front.run()
        #expect(
            result.ending == .exited(69) && result.errors.text == "auton: the programs are missing in /nowhere: run make build\n")
    }

    @Test(arguments: ["run", "reset", "watch"]) func aMailboxThatCannotBeMade(command: String) async throws {
        let run = try await LoopRun()
        try run.directory.write("mailbox", "a file")
        let result = try await run.command(command).run()
        #expect(
            result.ending == .exited(78) && result.errors.text.hasPrefix("auton: the mailbox cannot be written: "),
            "\(result.errors.text)")
    }

    @Test func lookingAtAPlanWritesNothing() async throws {
        let run = try await LoopRun()
        let none = try await run.auton("plan", "--show", "table")
        #expect(none.status == 65 && none.errors.hasPrefix("auton-plan: no mailbox: ") && !Files.exists(run.directory["mailbox"]))
    }

    @Test func noSuchRecordingOrTransport() async throws {
        let run = try await LoopRun()
        try run.directory.write("runs/07-one/transcript/plan-1.jsonl", "")
        for (model, expected) in [
            ("replay:nowhere", "auton-plan: no recording nowhere (there are: 07-one)\n"),
            (
                "telnet:x",
                "auton-plan: no such transport (there are replay:RUN, exec:COMMAND, file:DIR, https://SERVER and http://127.0.0.1:PORT): telnet:x\n"
            ),
        ] {
            let outcome = try await run.auton("plan", "--model", model, "--runs", "runs", "A goal")
            #expect(outcome == Outcome(status: 78, errors: expected))
        }
    }

    @Test func aModelThatFailsStopsTheLoop() async throws {
        let run = try await planned()
        try Files.removeTree(run.directory["input/answers/lib-001.1.1.json"])
        let outcome = try await run.auton("run")
        #expect(outcome.status == 69)
        #expect(outcome.errors.contains("auton: stopped by an error: "))
        #expect(outcome.output.contains("0 of 8 tasks merged"))
    }
}
