import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import AutonModel

/// Many processes, real ones, on one budget. A turn of theirs reserves 2 cents.
@Suite struct LedgerCrowdTests {
    private let scene: LedgerScene

    init() throws { scene = try LedgerScene() }

    private func probe(
        _ conversation: String, turns: Int, used: String, budget: [String: String] = [:], under: [String] = []
    ) async throws -> Outcome {
        let words = under + ["ledger-probe", scene.directory["mailbox"].string, conversation, String(turns), used]
        return try await Program.run(
            words[0], Array(words.dropFirst()),
            environment: Dictionary(uniqueKeysWithValues: budget.map { ("AUTON_BUDGET_\($0)", $1) }))
    }

    /// The most that ever counted, by the file alone: in picodollars, of the run and of each task.
    private func peaks() throws -> (run: Int, tasks: [String: Int]) {
        var open: [String: Int] = [:], counted: [String: Int] = [:], peaks: [String: Int] = [:], peak = 0
        for line in try scene.lines() where line[0] != "warned" {
            let cost = try #require(Money(line[11])).picodollars, key = line[4] + " " + line[5]
            let task = String(line[4].split(separator: ".")[0])
            let reserved = open.removeValue(forKey: key)
            switch line[0] {
            case "reserve":
                open[key] = cost
                counted[task, default: 0] += cost
            case "settle": counted[task, default: 0] += cost - (try #require(reserved, "settled twice"))
            default: Issue.record("\(line)")
            }
            peaks[task] = max(peaks[task] ?? 0, counted[task] ?? 0)
            peak = max(peak, counted.values.reduce(0, +))
        }
        return (peak, peaks)
    }

    @Test func eightAtOnceNeverExceedACap() async throws {
        let caps = ["USD": "0.50", "TASK_USD": "0.1", "WARN": "0.5"]
        let outcomes = try await withThrowingTaskGroup(of: Outcome.self) { group in
            for number in 1...8 {
                group.addTask { try await probe("lib-\(number % 4).\(number)", turns: 100, used: "500", budget: caps) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let (peak, tasks) = try peaks()
        let dollar = 1_000_000_000_000
        #expect(peak <= dollar / 2 && tasks.values.allSatisfy { $0 <= dollar / 10 })
        // All of it is used: no task has room for another turn, though two at once share each.
        let summary = try scene.summary()
        #expect(
            summary.tasks.count == 4
                && summary.tasks.values.allSatisfy { $0.spent.usd == Money("0.085") && $0.reserved == Amount() })
        #expect(outcomes.allSatisfy { $0.status == ExitStatus.budget.rawValue })
        #expect(outcomes.flatMap(\.lines).count == 4 * 17)
        // Each task's warning once, and the run's.
        let warnings = outcomes.flatMap { outcome in
            outcome.errors.split(separator: "\n").filter { $0.contains("nearly used up") }
        }
        #expect(warnings.count == 5 && Set(warnings.map { $0.prefix(30) }).count == 5)
        #expect(try scene.lines().count { $0[0] == "warned" } == 5)
    }

    /// Killed by SIGKILL at moments over their work, and started again on the same turns.
    @Test func eightOfWhichSomeAreKilled() async throws {
        let caps = ["USD": "2"]
        let killed = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...8 {
                group.addTask {
                    var killed = 0
                    for moment in ["0.08", "0.11", "0.13"] where number % 2 == 0 {
                        let dead = try await probe(
                            "lib-\(number).1", turns: 10_000, used: "5", budget: caps, under: ["timeout", "-s", "KILL", moment])
                        if dead.status == 137 { killed += 1 }
                    }
                    _ = try await probe("lib-\(number).1", turns: 30, used: "500", budget: caps)
                    return killed
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(killed > 0)
        #expect(try peaks().run <= 2_000_000_000_000)
        // Whatever was open when its process was killed is counted, and nothing else is.
        let reserved = try scene.lines().count { $0[0] == "reserve" }, settled = try scene.lines().count { $0[0] == "settle" }
        let run = try scene.summary().run
        #expect((run.reserved + run.abandoned).tokens == 2000 * (reserved - settled))
        #expect(run.spent.tokens == (try scene.lines().filter { $0[0] == "settle" }.reduce(0) { $0 + Int($1[10])! }))
    }

    /// At the entry of the call that puts the reservation on the disk: the line is there, the process is not.
    @Test(.enabled("needs strace(1)") { await Strace.works })
    func killedBetweenReservationAndSettlement() async throws {
        let dead = try await probe(
            "lib-1.1", turns: 5, used: "500",
            under: ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=SIGKILL:when=3"])
        #expect(dead.status == 137 && dead.lines == ["reserved 1", "reserved 2"])
        #expect(try scene.tokens() == [1000, 2000, 0])
        // It goes on with the turn whose response it never got; the old reservation counts for ever.
        #expect(try await probe("lib-1.1", turns: 3, used: "500").status == 0)
        #expect(try scene.tokens() == [2500, 0, 2000])
    }

    /// What a process that was started with `sayingTo` says, once it says that it waits.
    private func isWaiting(_ file: String) async throws {
        let waits = "ledger-probe: lib-2.1 turn 1 waits: the rest of the run's budget is reserved by turns under way\n"
        try await scene.eventually { (try? scene.directory.read(file)) == waits }
    }

    private func sayingTo(_ file: String) -> [String] { ["sh", "-c", "exec \"$0\" \"$@\" 2>\(scene.directory[file])"] }

    /// The rest of the budget is only reserved: it waits, and gets it when the other turn is settled.
    @Test func whoeverFindsItReservedWaits() async throws {
        let holder = scene.ledger(), held = turn("lib-1.1")
        try holder.reserve(LedgerScene.worst(2000), model: "m", at: held)
        async let waiting = probe("lib-2.1", turns: 1, used: "500", budget: ["USD": "0.03"], under: sayingTo("said"))
        try await isWaiting("said")
        #expect(try scene.tokens() == [0, 2000, 0])
        try holder.settle(held, usage: TokenUsage(output: 1000), model: "m")
        #expect(try await waiting == Outcome(status: 0, output: "reserved 1\n"))
        let warning = "ledger-probe: the run's budget is nearly used up: $0.01 spent, $0.02 reserved or abandoned of $0.03\n"
        #expect(try scene.directory.read("said").hasSuffix(warning))
        #expect(try scene.tokens() == [1500, 0, 0])
    }

    /// What a killed process had reserved does not come back: nobody waits for it.
    @Test func nobodyWaitsForTheDead() async throws {
        async let holding = probe("lib-1.1", turns: 1, used: "-")
        try await scene.eventually { try scene.ledger().summary()?.run.reserved.tokens == 2000 }
        async let waiting = probe("lib-2.1", turns: 1, used: "500", budget: ["USD": "0.03"], under: sayingTo("said"))
        try await isWaiting("said")
        kill(try #require(pid_t(scene.lines()[0][2])), SIGKILL)
        #expect(try await holding.status == 128 + SIGKILL)
        #expect(try await waiting == Outcome(status: ExitStatus.budget.rawValue))
        #expect(
            try scene.directory.read("said").contains(
                "the run's budget is used up: $0.00 spent, $0.02 reserved or abandoned, this turn may take $0.02, the cap is $0.03"
            ))
    }

    /// By its own earlier turn, too, whose response never came, nobody is held up.
    @Test func nobodyWaitsForThemselves() async throws {
        let ledger = scene.ledger { $0.usd = Money("0.03") }
        try ledger.reserve(LedgerScene.worst(2000), model: "m", at: turn("lib-1.1"))
        #expect(await failure { try ledger.reserve(LedgerScene.worst(2000), model: "m", at: turn("lib-1.1")) }?.status == .budget)
        #expect(
            await failure { try ledger.reserve(LedgerScene.worst(2000), model: "m", at: turn("lib-1.1", 2)) }?.status == .budget)
    }
}
