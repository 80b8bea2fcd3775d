import AutonKit
import AutonMessages
import Glibc
import TestSupport
import Testing

@testable import AutonModel

@Suite struct LedgerTests {
    private let scene: LedgerScene
    private let first = turn("boot-002.1")

    init() throws { scene = try LedgerScene() }

    private func worst(_ tokens: Int) -> WorstCase { LedgerScene.worst(tokens) }

    @Test func aReservationBecomesTheActualCost() throws {
        let ledger = scene.ledger()
        #expect(try ledger.summary() == nil)
        try ledger.reserve(worst(2000), model: "m", at: first)
        #expect(try scene.summary().run.reserved == Amount(usd: Money("0.02")!, tokens: 2000))
        try ledger.settle(first, usage: TokenUsage(input: 1, cacheCreation: 20, cacheRead: 300, output: 179), model: "m")
        let run = try scene.summary().run
        #expect(run.spent == Amount(usd: Money("0.005")!, tokens: 500))
        #expect(run.reserved == Amount() && run.abandoned == Amount())
        #expect(try ledger.summary()?.run == run)
        let columns = try scene.lines().map { [$0[0]] + $0[4...] }
        #expect(
            columns == [
                ["reserve", "boot-002.1", "1", "m", "1999", "0", "0", "1", "0.02"],
                ["settle", "boot-002.1", "1", "m", "1", "20", "300", "179", "0.005"],
            ])
        let now = Double(time(nil))
        for line in try scene.lines() {
            #expect(abs(Double(line[1])! - now) < 60 && Double(line[3])! <= Double(line[1])! && line[2] == String(getpid()))
        }
    }

    @Test func whatIsReleasedIsFreeAndWhatIsAbandonedIsNot() throws {
        let ledger = scene.ledger()
        try ledger.reserve(worst(2000), model: "m", at: first)
        try ledger.release(first)
        #expect(try scene.tokens() == [0, 0, 0])
        try ledger.reserve(worst(2000), model: "m", at: first)
        try ledger.abandon(first)
        try ledger.reserve(worst(3000), model: "m", at: first)
        #expect(try scene.tokens() == [0, 3000, 2000])
        try ledger.settle(first, usage: TokenUsage(output: 7), model: "m")
        #expect(try scene.tokens() == [7, 0, 2000])
    }

    /// Said again, or with nothing reserved, by this process or another: nothing changes, not even the file.
    @Test func settlingTwiceIsSettlingOnce() throws {
        let ledger = scene.ledger()
        try ledger.settle(first, usage: TokenUsage(output: 7), model: "m")
        try ledger.release(first)
        try ledger.abandon(first)
        #expect(!Files.exists(scene.directory["mailbox"]))
        try ledger.reserve(worst(2000), model: "m", at: first)
        try ledger.settle(first, usage: TokenUsage(output: 7), model: "m")
        let text = try scene.text()
        for ledger in [ledger, scene.ledger()] {
            try ledger.settle(first, usage: TokenUsage(output: 9), model: "m")
            try ledger.release(first)
            try ledger.abandon(first)
            try ledger.settle(turn("boot-002.1", 2), usage: TokenUsage(output: 9), model: "m")
        }
        #expect(try scene.text() == text)
    }

    /// Its process was killed before the response was kept, and may have been billed. What is settled later is the new reservation
    /// alone, however often it is said.
    @Test func aTurnThatIsAskedAgainReservesAnew() throws {
        try scene.ledger().reserve(worst(2000), model: "m", at: first)
        let again = scene.ledger()
        try again.reserve(worst(3000), model: "m", at: first)
        #expect(try scene.tokens() == [0, 3000, 2000])
        for _ in 1...3 { try scene.ledger().settle(first, usage: TokenUsage(output: 5), model: "m") }
        #expect(try scene.tokens() == [5, 0, 2000])
    }

    /// Its process was killed after the response was kept.
    @Test func anotherProcessSettles() throws {
        try scene.ledger().reserve(worst(2000), model: "m", at: first)
        try scene.ledger().settle(first, usage: TokenUsage(output: 5), model: "m")
        #expect(try scene.tokens() == [5, 0, 0])
    }

    @Test(arguments: [
        ("boot-002.1", "boot-002"), ("boot-002.1.review", "boot-002"), ("boot-002.12", "boot-002"), ("plan-1", "plan"),
        ("plan-12", "plan"),
        ("plan-1.1", "plan-1"), ("plan", "plan"), ("-1", "-1"), ("1", "1"),
    ])
    func theTaskOfAConversation(_ conversation: String, _ task: String) { #expect(turn(conversation).task == task) }

    @Test func tasksAreCountedApart() throws {
        let ledger = scene.ledger()
        for (conversation, tokens) in [("a-1.1", 1000), ("a-1.1.review", 200), ("a-1.2", 30), ("plan-1", 4), ("b-1.1", 5000)] {
            try ledger.reserve(worst(9000), model: "m", at: turn(conversation))
            try ledger.settle(turn(conversation), usage: TokenUsage(output: tokens), model: "m")
        }
        let summary = try scene.summary()
        #expect(summary.tasks.mapValues(\.spent.tokens) == ["a-1": 1230, "plan": 4, "b-1": 5000])
        #expect(summary.run.spent.tokens == 6234)
    }

    @Test func whatHasNoPriceAddsTokensAlone() throws {
        let ledger = scene.ledger { $0.usd = Money("0.01") }
        try ledger.reserve(WorstCase(input: 4000, output: 1000), model: "exec model", at: first)
        try ledger.settle(first, usage: TokenUsage(input: 400, output: 100), model: "m")
        #expect(try scene.summary().run.spent == Amount(usd: .zero, tokens: 500))
        #expect(try scene.lines().map(\.last) == ["-", "-"])
    }

    /// It is priced as what answered, if that has a price, and else as what was asked.
    @Test func theModelThatAnswersMayBeAnother() throws {
        let dear = ModelPrice(rates: .init(input: Money("100")!, output: Money("100")!)!)
        let ledger = scene.ledger(prices: PriceTable(["m": LedgerScene.tenDollars, "dear": dear]))
        for (number, model) in ["dear-20260901", "nobody knows\tit\n", "m"].enumerated() {
            try ledger.reserve(worst(90_000), model: "m", at: turn("a-1.1", number + 1))
            try ledger.settle(turn("a-1.1", number + 1), usage: TokenUsage(output: 1000), model: model)
        }
        #expect(try scene.lines().filter { $0[0] == "settle" }.map(\.last) == ["0.1", "0.01", "0.01"])
        #expect(try scene.summary().run.spent.usd.usd == "0.12")
    }

    /// Its price was taken out of the table meanwhile: it does not become free.
    @Test func aModelThatLostItsPriceCostsWhatWasReserved() throws {
        try scene.ledger().reserve(worst(2000), model: "m", at: first)
        try scene.ledger(prices: PriceTable()).settle(first, usage: TokenUsage(output: 1), model: "m")
        #expect(try scene.summary().run.spent.usd.usd == "0.02")
    }

    @Test func aServerThatUsedMoreThanItCanIsReportedAndCounted() throws {
        let ledger = scene.ledger { $0.usd = Money("0.05") }
        try ledger.reserve(worst(2000), model: "m", at: first)
        try ledger.settle(first, usage: TokenUsage(output: 9000), model: "m")
        #expect(try scene.summary().run.spent.usd.usd == "0.09")
        #expect(
            scene.reports == [
                "of boot-002.1 turn 1 the server tells more than can be, $0.09 and 9000 tokens; $0.02 and 2000 tokens were reserved"
            ])
    }

    @Test func aServerThatTellsNoUsageHasNotWorkedForNothing() throws {
        let ledger = scene.ledger()
        try ledger.reserve(worst(2000), model: "m", at: first)
        for _ in 1...2 { try ledger.settle(first, usage: TokenUsage(input: -1), model: "m") }
        #expect(try scene.tokens() == [0, 0, 2000])
        #expect(
            scene.reports == [
                "of boot-002.1 turn 1 the server tells no usage; its worst case stays counted, $0.02 and 2000 tokens"
            ])
    }

    @Test func numbersThatCannotBeAreNoCrash() throws {
        let ledger = scene.ledger()
        for (number, usage) in [
            TokenUsage(input: .max, output: .max), TokenUsage(input: -9, output: .min), TokenUsage(input: .max),
            TokenUsage(cacheRead: -9, output: 1),
        ].enumerated() {
            try ledger.reserve(worst(2000), model: "m", at: turn("a-1.1", number + 1))
            try ledger.settle(turn("a-1.1", number + 1), usage: usage, model: "m")
        }
        #expect(try scene.summary().run.spent.tokens == .max)
    }

    @Test func namesDoNotBreakTheColumns() throws {
        for (number, model) in ["a\tb\nc", "", "\r\n", "é\u{301}x"].enumerated() {
            try scene.ledger().reserve(worst(2000), model: model, at: turn("a-1.1", number + 1))
        }
        #expect(try scene.lines().map { $0[6] } == ["a b c", "-", " ", "é\u{301}x"])
        #expect(try scene.tokens() == [0, 8000, 0])
    }
}
