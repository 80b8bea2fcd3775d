import AutonKit
import AutonModel
import FoundationEssentials
import SystemPackage
import TestSupport
import Testing

/// The whole loop on a scripted model: a plan of eight tasks, one of which is rejected by the gate and sent back by the
/// reviewer, two in conflict, one blocked and dropped by the re-plan, one that depends on that.
@Suite struct LoopTests {
    /// Killed whole (make, shells, agents, gates, sandboxes) at moments over its length and started again, it arrives at
    /// the same end.
    @Test func killedAndStartedAgain() async throws {
        let run = try await LoopRun()
        _ = try await run.auton("plan", "--from", "input/plan.json")
        for lines in [1, 12, 30, 45] {
            var killed = run.command("run")
            let progress = run.directory["mailbox/log/progress"]
            killed.stop = { ((try? Files.readText(progress)) ?? "").split(separator: "\n").count >= lines }
            #expect(try await killed.run().ending == .timedOut, "it was over before it was killed")
        }
        #expect(try await run.auton("run").status == 1)
        try await run.expectAfter()
    }

    /// What a front leaves that is killed alone, by a signal that it can see or not, ends with it.
    @Test(arguments: ["TERM", "KILL"])
    func nothingIsLeftAtWorkWhenTheFrontIsKilled(signal: String) async throws {
        let run = try await LoopRun()
        _ = try await run.auton("plan", "--from", "input/plan.json")
        // The model never answers; the loop has the run's lock open, the agent its task's.
        let script = """
            sh \(Program.package)/auton run >front 2>&1 & front=$!
            until test -e asked; do sleep 0.02; done
            kill -\(signal) $front; wait $front
            for lock in mailbox/log/run.lock workspace/.auton/lock/lib-001.1; do flock --wait 60 $lock true || exit; done
            """
        var command = run.command()
        command.arguments = ["-c", script]
        command.environment["AUTON_MODEL"] = "exec:touch asked; exec sleep 1000"
        #expect(try await command.run().ending == .exited(0))
        #expect(try run.directory.read("front").contains("interrupted; run again to go on") == (signal == "TERM"))
    }

    /// Likewise if make is killed alone: nobody carries a task on for whom nobody waits.
    @Test func nothingIsLeftAtWorkWhenMakeIsKilled() async throws {
        let run = try await LoopRun()
        _ = try await run.auton("plan", "--from", "input/plan.json")
        let script = """
            sh \(Program.package)/auton run >front 2>&1 & front=$!
            until test -e asked; do sleep 0.02; done
            for make in $(pgrep -x make); do
                test "$(readlink /proc/$make/cwd)" != "$PWD/mailbox" || kill -KILL $make
            done
            wait $front; echo $? >status
            flock -n mailbox/log/run.lock true && flock --wait 60 workspace/.auton/lock/lib-001.1 true
            """
        var command = run.command()
        command.arguments = ["-c", script]
        command.environment["AUTON_MODEL"] = "exec:touch asked; exec sleep 1000"
        #expect(try await command.run().ending == .exited(0))
        #expect(try run.directory.read("status") == "75\n")
        #expect(try run.directory.read("front").contains("run again to continue. Last: make was killed (more in mailbox/log)\n"))
    }

    /// Out of tokens before the first turn, out of time in the middle: it stops with status 2 and says why, and goes on when there is more,
    /// to the end: rejected, blocked and in conflict.
    @Test func outOfBudgetAndOnAgain() async throws {
        let run = try await LoopRun()
        let planned = try await run.auton("plan", "--from", "input/plan.json")
        #expect(planned.lines == (1...8).map { "lib-00\($0)" })
        let tokens = try await run.auton("run", budget: ["TOKENS": "100"])
        #expect(tokens.status == ExitStatus.budget.rawValue)
        #expect(
            tokens.errors.contains(
                "auton: out of budget; run again to go on once it is raised: auton-agent: the run's budget is used up: 0 tokens spent, 0 tokens reserved or abandoned, this turn may take "
            ))
        #expect(try Files.list(run.directory["mailbox/candidate"]) == [])
        let time = try await run.auton("run", budget: ["WALL_MINUTES": "0.025"])
        #expect(time.status == ExitStatus.budget.rawValue)
        #expect(time.errors.contains("auton: out of budget; run again to go on once it is raised: "))
        #expect(time.errors.contains("the run's time is used up"))
        // Wall time is that of the whole run, not of each start.
        let candidates = try Files.list(run.directory["mailbox/candidate"])
        let earlier = "run\t1000\t\t\t0\t0\t\nend\t1100\tgoal\tplan\t0\t100\t\n"
        try run.directory.write("mailbox/log/progress", earlier + run.directory.read("mailbox/log/progress"))
        #expect(try await run.auton("run", budget: ["WALL_MINUTES": "1"]).status == ExitStatus.budget.rawValue)
        #expect(try Files.list(run.directory["mailbox/candidate"]) == candidates)
        let rest = try await run.auton("run", budget: ["TOKENS": "10000000", "WALL_MINUTES": "1000"])
        #expect(rest.status == 1)
        #expect(rest.output.contains(" of 10000000 tokens spent, 0 reserved, 0 abandoned\n"))
        #expect(rest.output.contains("blocked: tasks are left that no attempt could land"))
        try await run.expectAfter()
        // What is finished is not done again.
        let transcripts = try run.directory.contents(of: "mailbox/transcript")
        #expect(try await run.auton("run").status == 1)
        #expect(try run.directory.contents(of: "mailbox/transcript") == transcripts)
    }

    @Test func twoRunsInOneMailbox() async throws {
        let run = try await LoopRun()
        _ = try await run.auton("plan", "--from", "input/plan.json")
        var first = run.command("run")
        let over = run.directory["over"]
        first.stop = { Files.exists(over) }
        async let killed = first.run()
        try await run.waitFor("mailbox/log/progress")
        let second = try await run.auton("run")
        #expect(second.status == ExitStatus.tryAgain.rawValue)
        #expect(second.errors == "auton: another run is at work in mailbox\n")
        try run.directory.write("over", "")
        #expect(try await killed.ending == .timedOut)
    }
}

/// One run of the scenario in a directory of its own.
struct LoopRun {
    let directory: TemporaryDirectory
    static let scenario = Program.package.appending("Tests/Scenarios/loop")

    init() async throws {
        _ = try await GateProof.outcome
        directory = try TemporaryDirectory()
        try Self.copy(Self.scenario.appending("input"), to: directory["input"])
    }

    static func copy(_ source: FilePath, to target: FilePath) throws {
        guard Files.isDirectory(source) else {
            try Files.write(target, try Files.read(source), sync: false)
            return
        }
        try Files.createDirectories(target)
        for name in try Files.list(source) { try copy(source.appending(name), to: target.appending(name)) }
    }

    func command(_ arguments: String...) -> Command {
        var variables = Command.plainEnvironment
        variables["AUTON_BIN"] = Program.directory.string
        variables["XDG_CACHE_HOME"] = Program.cache
        // One machine is enough where the loop is what is tested.
        variables["AUTON_GATE_MERGE_BOOTS"] = "pvh"
        variables["AUTON_MODEL"] = "exec:sh input/model"
        var command = Command("sh", [Program.package.appending("auton").string] + arguments, environment: variables)
        command.directory = directory.path
        command.timeLimit = 300
        return command
    }

    func auton(_ arguments: String..., budget: [String: String] = [:]) async throws -> Outcome {
        try await auton(arguments, budget: budget)
    }

    func auton(_ arguments: [String], budget: [String: String] = [:]) async throws -> Outcome {
        var command = command()
        command.arguments += arguments
        for (name, value) in budget { command.environment["AUTON_BUDGET_\(name)"] = value }
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "ended with \(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }

    /// What the scripted model answers a turn, such as lib-001.1.2, with.
    func answer(_ turn: String, _ reply: MessagesResponse) throws {
        try directory.write("input/answers/\(turn).json", String(decoding: CompactJSON.encode(reply), as: UTF8.self))
    }

    /// Plans one task, lib-001, whose developer may write in lib/.
    func planOneTask() async throws {
        try directory.write(
            "plan.json",
            """
            {"tasks": [{"id": "lib-001", "title": "work", "role": "developer", "subsystem": "lib", "description": "work",
             "paths": ["lib/"], "depends": [], "accept": ["harness.*"]}]}
            """)
        #expect(try await auton("plan", "--from", "plan.json").status == 0)
    }

    func waitFor(_ name: String) async throws {
        while !Files.exists(directory[name]) { try await Task.sleep(for: .milliseconds(20)) }
    }

    /// Compares the state of every task, and main's files that agents wrote, with the scenario's `after`.
    ///
    /// Which of two tasks in conflict comes second is chance, so both tables are right.
    func expectAfter() async throws {
        let status = try await auton("status").output.split(separator: "\n\n").first.map { $0 + "\n" }
        let allowed = try ["status-004-first", "status-005-first"].map {
            try Files.readText(Self.scenario.appending("after/\($0)"))
        }
        #expect(allowed.contains(status.map(String.init) ?? ""), "\(status ?? "no table")")
        var files = try directory.contents(of: "workspace", without: [".git", ".auton", "build"])
        files = files.filter { !Workspace.isProtected($0.key) }
        let expected = try Files.readText(Self.scenario.appending("after/files"))
        #expect(files.sorted { $0.key < $1.key }.map { "== \($0.key)\n\($0.value)" }.joined() == expected)
        let log = try await Git(directory: directory["workspace/.git"]).run("log", "--first-parent", "--format=%s", "main")
        #expect(log.split(separator: "\n").count == 7, "six merges on the scaffold, none twice:\n\(log)")
    }
}
