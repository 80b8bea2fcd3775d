import AutonKit
import AutonMessages
import Glibc
import TestSupport
import Testing

@testable import AutonModel

@Suite struct LedgerCapTests {
    private let scene: LedgerScene
    private let first = turn("boot-002.1")

    init() throws { scene = try LedgerScene() }

    private func refusal(_ tokens: Int, at turn: Turn, _ set: (inout Caps) -> Void) async -> AutonError? {
        await failure { try scene.ledger(set).reserve(LedgerScene.worst(tokens), model: "m", at: turn) }
    }

    /// A task with 1000 tokens spent, 2000 reserved, 3000 abandoned, and another with 500 spent.
    private func used() throws {
        let ledger = scene.ledger()
        for (number, tokens) in [4000, 2000, 3000].enumerated() {
            try ledger.reserve(LedgerScene.worst(tokens), model: "m", at: turn("boot-002.1", number + 1))
        }
        try ledger.settle(first, usage: TokenUsage(output: 1000), model: "m")
        try ledger.abandon(turn("boot-002.1", 3))
        try ledger.reserve(LedgerScene.worst(4000), model: "m", at: turn("plan-1"))
        try ledger.settle(turn("plan-1"), usage: TokenUsage(output: 500), model: "m")
    }

    /// To the last token and picodollar.
    @Test func whatFitsExactlyFits() async throws {
        try used()
        let next = turn("boot-002.1.review")
        for (cap, task) in [(7500, 7000), (7499, 7000), (7500, 6999)] {
            let isRoom = cap == 7500 && task == 7000
            let byTokens = await refusal(1000, at: next) { ($0.tokens, $0.taskTokens) = (cap, task) }
            #expect((byTokens == nil) == isRoom)
            if isRoom { try scene.ledger().release(next) }
            let cent = Money("0.00001")!
            let byDollars = await refusal(1000, at: next) { ($0.usd, $0.taskUSD) = (cap * cent, task * cent) }
            #expect((byDollars == nil) == isRoom)
            if isRoom { try scene.ledger().release(next) }
            #expect([byTokens?.status, byDollars?.status] == (isRoom ? [nil, nil] : [.budget, .budget]))
        }
    }

    @Test func theRefusalSaysAllThatOneNeedsToKnow() async throws {
        try used()
        let next = turn("boot-002.2", 4)
        #expect(
            await refusal(1000, at: next) { $0.usd = Money("0.05") }?.description
                == "the run's budget is used up: $0.015 spent, $0.05 reserved or abandoned, this turn may take $0.01, the cap is $0.05; "
                + "raise budget.usd to go on: boot-002.2 turn 4")
        #expect(
            await refusal(1000, at: next) { $0.tokens = 1000 }?.what
                == "the run's budget is used up: 1500 tokens spent, 5000 tokens reserved or abandoned, this turn may take 1000 tokens, "
                + "the cap is 1000 tokens; raise budget.tokens to go on")
        #expect(
            await refusal(1000, at: next) { $0.taskUSD = Money("0.05") }?.what.hasPrefix(
                "boot-002's budget is used up: $0.01 spent, $0.05 reserved or abandoned, this turn may take $0.01, the cap is $0.05; raise budget.task_usd"
            )
                == true)
        #expect(
            await refusal(1000, at: next) { $0.taskTokens = 6000 }?.what.hasSuffix(
                "the cap is 6000 tokens; raise budget.task_tokens to go on") == true)
    }

    @Test func aRefusalReservesNothingAndRaisingTheCapGoesOn() async throws {
        try used()
        let text = try scene.text()
        #expect(await refusal(1000, at: turn("a-1.1")) { $0.tokens = 7000 } != nil)
        #expect(try scene.text() == text)
        #expect(await refusal(1000, at: turn("a-1.1")) { $0.tokens = 8000 } == nil)
    }

    @Test func aTasksCapIsNotTheOthers() async throws {
        try used()
        #expect(await refusal(1000, at: turn("boot-002.3")) { $0.taskTokens = 6500 }?.status == .budget)
        #expect(await refusal(1000, at: turn("boot-003.1")) { $0.taskTokens = 6500 } == nil)
    }

    /// Two processes worked 10 and 20 seconds on it, one after the other and side by side with one of another task.
    @Test func theTimeOfATask() async throws {
        let now = time(nil)
        func line(_ event: String, _ at: Int, pid: Int, since: Int, _ conversation: String) -> String {
            "\(event)\t\(now + at).000\t\(pid)\t\(now + since).000\t\(conversation)\t1\tm\t10\t0\t0\t0\t0.0001\n"
        }
        try scene.write(
            line("reserve", -95, pid: 1, since: -100, "a-1.1") + line("settle", -90, pid: 1, since: -100, "a-1.1")
                + line("reserve", -50, pid: 3, since: -99, "b-1.1") + line("reserve", -60, pid: 1, since: -70, "a-1.1.review")
                + line("settle", -50, pid: 1, since: -70, "a-1.1.review"))
        let summary = try scene.summary()
        #expect(summary.tasks.mapValues(\.seconds) == ["a-1": 30, "b-1": 49])
        #expect(summary.run.seconds == 79)
        let error = await refusal(1, at: turn("a-1.2")) { $0.taskSeconds = 30 }
        #expect(error?.description.hasPrefix("a-1's time is used up: 30") == true)
        #expect(error?.description.contains(" s of 30 s; raise budget.task_wall_minutes") == true)
        #expect(error?.status == .budget)
        #expect(await refusal(1, at: turn("a-1.2")) { $0.taskSeconds = 60 } == nil)
        #expect(await refusal(1, at: turn("c-1.1")) { $0.taskSeconds = 0 }?.status == .budget)
    }

    @Test func aProcessItselfTakesTime() async throws {
        let ledger = scene.ledger { $0.taskSeconds = 2 }
        try ledger.reserve(LedgerScene.worst(10), model: "m", at: first)
        try await Task.sleep(for: .milliseconds(2100))
        #expect(
            await failure { try ledger.reserve(LedgerScene.worst(10), model: "m", at: turn("boot-002.1", 2)) }?.status == .budget)
        // Another that begins now has the time that is in the ledger behind it, not this one's idling.
        #expect(await refusal(10, at: turn("boot-002.2")) { $0.taskSeconds = 2 } == nil)
    }

    @Test func theRunsDeadline() async throws {
        #expect(await refusal(10, at: first) { $0.deadline = Double(time(nil) + 100) } == nil)
        let error = await refusal(10, at: first) { $0.deadline = 1_700_000_000 }
        #expect(error?.status == .budget)
        #expect(
            error?.what == "the run's time is used up, it ended at 2023-11-14 22:13:20 UTC; raise budget.wall_minutes to go on")
    }

    @Test func aWarningIsSaidOnceForEveryCap() throws {
        func turns(_ numbers: ClosedRange<Int>, _ conversation: String, _ set: (inout Caps) -> Void) throws {
            for number in numbers {
                let ledger = scene.ledger(set)
                try ledger.reserve(LedgerScene.worst(1000), model: "m", at: turn(conversation, number))
                try ledger.settle(turn(conversation, number), usage: TokenUsage(output: 1000), model: "m")
            }
        }
        let run = { (caps: inout Caps) in (caps.usd, caps.tokens, caps.warn) = (Money("0.1"), 100_000, 0.5) }
        try turns(1...4, "a-1.1", run)
        #expect(scene.reports == [])
        try turns(5...9, "a-1.1", run)
        #expect(scene.reports == ["the run's budget is nearly used up: $0.04 spent, $0.01 reserved or abandoned of $0.10"])
        #expect(try scene.lines().filter { $0[0] == "warned" }.map { [$0[4], $0[6], $0[11]] } == [["a-1.1", "usd", "0.1"]])
        // A raised cap is another, and so is another task's.
        try turns(10...12, "a-1.1") { $0.usd = Money("0.12") }
        #expect(scene.reports.count == 2)
        try turns(13...14, "a-1.1") { $0.taskTokens = 15_000 }
        try turns(1...14, "b-1.1") { $0.taskTokens = 15_000 }
        #expect(
            scene.reports.dropFirst(2) == [
                "a-1's budget is nearly used up: 12000 tokens spent, 1000 tokens reserved or abandoned of 15000 tokens",
                "b-1's budget is nearly used up: 11000 tokens spent, 1000 tokens reserved or abandoned of 15000 tokens",
            ])
    }

    @Test func theEndOfTheTimeIsAnnounced() throws {
        let soon = Double(time(nil) + 50)
        for number in 1...3 {
            let ledger = scene.ledger { ($0.deadline, $0.seconds) = (soon, number == 1 ? 100 : 1000) }
            try ledger.reserve(LedgerScene.worst(10), model: "m", at: turn("a-1.1", number))
        }
        #expect(scene.reports.count == 1)
        #expect(scene.reports.first?.hasPrefix("the run's time is nearly used up: it ends at 20") == true)
    }
}
