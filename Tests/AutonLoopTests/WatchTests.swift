import AutonKit
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// Goals that are dropped into the mailbox.
@Suite struct WatchTests {
    /// Only what has ended is done: the rest stays where it is and is not tried again before it is changed.
    @Test func whatHasNotEndedStays() async throws {
        let run = try await LoopRun()
        _ = try await run.auton("plan", "--from", "input/plan.json")
        try run.directory.write("mailbox/goal/a.txt", " \n")
        try run.directory.write("mailbox/goal/b.txt", String(repeating: "x", count: 65_537))
        try run.directory.write("mailbox/goal/c.txt", "Go on\n")
        var watch = run.command("watch")
        watch.environment["AUTON_BUDGET_TOKENS"] = "100"
        let log = run.directory["mailbox/log/progress"]
        // The second time by a change; what was not changed is not tried.
        let script = """
            until test -e mailbox/log/halt; do sleep 0.05; done
            until test -e mailbox/goal/c.txt; do sleep 0.05; done
            echo "Go on then" >mailbox/goal/c.txt
            """
        watch.stop = { ((try? Files.readText(log)) ?? "").split(separator: "\n").count { $0.hasPrefix("end") } >= 2 }
        async let changed = Program.run("sh", ["-c", script], in: run.directory.path)
        let result = try await watch.run()
        #expect(result.ending == .timedOut)
        #expect(try await changed.status == 0)
        let lines = result.errors.text.split(separator: "\n").filter { $0.contains("tried again") }
        let ending = "tried again once it or auton.toml is changed: mailbox/goal"
        #expect(
            lines.prefix(3) == [
                "auton: the goal is empty, \(ending)/a.txt", "auton: the goal is over 65536 bytes, \(ending)/b.txt",
                "auton: not ended (status 2), \(ending)/c.txt",
            ])
        #expect(lines.count { $0.hasSuffix("/a.txt") } == 1)
        let names = try Files.list(run.directory["mailbox/goal"]).map { $0.hasSuffix(".taken") ? String($0.dropLast(6)) : $0 }
        #expect(names == ["1.json", "2.json", "a.txt", "b.txt", "c.txt"])
    }

    /// Nor has one ended that the Manager made no plan of.
    @Test func aGoalWithoutAPlanStays() async throws {
        let run = try await LoopRun()
        for turn in 1...3 { try run.answer("plan-1.\(turn)", reply(text: "I cannot.", stopReason: "end_turn")) }
        try run.directory.write("mailbox/goal/a.txt", "Count\n")
        var watch = run.command("watch")
        let ended = run.directory["mailbox/log/status"], taken = run.directory["mailbox/goal/a.txt.taken"]
        watch.stop = { Files.exists(ended) && !Files.exists(taken) }
        let result = try await watch.run()
        #expect(result.ending == .timedOut)
        let words = "auton: stopped by an error: auton-plan: the Manager made no plan: three turns without a tool call: I cannot."
        #expect(result.errors.text.contains(words), "\(result.output.text)\(result.errors.text)")
        #expect(try Files.list(run.directory["mailbox/goal"]) == ["1.json", "a.txt"])
    }

    /// What is changed while a goal is at work can end it differently, too.
    @Test func whatIsChangedMeanwhileIsTriedAgain() async throws {
        let run = try await LoopRun()
        try run.directory.write("input/model", "echo once >>tries; test -e auton.toml || echo '[team]' >auton.toml; exit 1\n")
        try run.directory.write("mailbox/goal/a.txt", "Count\n")
        var watch = run.command("watch")
        let tries = run.directory["tries"]
        watch.stop = { ((try? Files.readText(tries)) ?? "") == "once\nonce\n" }
        // It looks when something happens, or after half a minute.
        let script = "for i in $(seq 400); do sleep 0.5; : >mailbox/goal/poke; test $(wc -l <tries) -lt 2 || break; done"
        async let poked = Program.run("sh", ["-c", script], in: run.directory.path)
        _ = try await watch.run()
        _ = try await poked
        #expect(try Files.readText(tries).hasPrefix("once\nonce\n"))
    }
}
