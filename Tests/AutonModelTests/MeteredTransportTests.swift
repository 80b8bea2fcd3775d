import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import AutonModel

@Suite struct MeteredTransportTests {
    private let scene: LedgerScene
    private let path: FilePath

    init() throws {
        scene = try LedgerScene()
        path = scene.directory["t.jsonl"]
    }

    private let table = PriceTable(["scripted": LedgerScene.tenDollars])

    /// What a process of its own meters with.
    private func metered(
        _ transport: any Transport, _ reserving: MeteredTransport.Reserving = .here, needsPrice: Bool = true,
        prices: PriceTable? = nil, _ set: (inout Caps) -> Void = { _ in }
    ) -> MeteredTransport {
        MeteredTransport(
            transport, BudgetMeter(scene.ledger(prices: prices ?? table, set), needsPrice: needsPrice), reserving: reserving)
    }

    @discardableResult
    private func talk(_ transport: any Transport, _ words: [String]) async throws -> [String] {
        let conversation = try Conversation(opening(), at: path, transport: transport) { _ in }
        var heard: [String] = []
        for word in words { heard.append(try await conversation.send(.user(word)).text) }
        return heard
    }

    private func reply(_ text: String, _ input: Int, _ output: Int, model: String = "scripted") -> MessagesResponse {
        var response = TestSupport.reply(text: text, stopReason: "end_turn")
        response.usage = .init(inputTokens: input, outputTokens: output)
        response.model = model
        return response
    }

    private var replies: [MessagesResponse] { [reply("one", 50, 10), reply("two", 70, 10), reply("three", 90, 10)] }

    private func reservedInput() throws -> [Int] { try scene.lines().filter { $0[0] == "reserve" }.map { Int($0[7])! } }

    @Test func everyTurnIsReservedAndSettled() async throws {
        let scripted = ScriptedTransport(replies)
        #expect(try await talk(metered(scripted), ["a", "b", "c"]) == ["one", "two", "three"])
        #expect(try scene.lines().map(\.first) == ["reserve", "settle", "reserve", "settle", "reserve", "settle"])
        #expect(try scene.summary().run.spent == Amount(usd: Money("0.0024")!, tokens: 240))
        #expect(scripted.settled == [1, 2, 3])
        // The first by the bytes of its body, the others by what was told and the bytes of what is new.
        let whole = try CompactJSON.encode(scripted.requests[0]).count,
            news = try CompactJSON.encode([ChatMessage.user("b")]).count
        #expect(try reservedInput() == [whole, 60 + news, 80 + news].map { $0 + 2048 })
        #expect(try scene.lines().filter { $0[0] == "reserve" }.allSatisfy { $0[10] == "1000" })
    }

    /// Another model counts other tokens: what the last one told is no bound.
    @Test func afterAnotherModelTheBytesCount() async throws {
        let scripted = ScriptedTransport([
            reply("one", 50, 10, model: "other"), reply("two", 50, 10, model: "scripted-20260901"), reply("three", 50, 10),
        ])
        try await talk(metered(scripted), ["a", "b", "c"])
        let bytes = try scripted.requests.map { try CompactJSON.encode($0).count }
        let news = try CompactJSON.encode([ChatMessage.user("c")]).count
        #expect(try reservedInput() == [bytes[0], bytes[1], 60 + news].map { $0 + 2048 })
    }

    @Test func withoutRoomTheModelIsNotAsked() async throws {
        let scripted = ScriptedTransport([reply("one", 50, 400), reply("two", 500, 10), reply("three", 600, 10)])
        let error = await failure { try await talk(metered(scripted) { $0.tokens = 3000 }, ["a"]) }
        #expect(error?.status == .budget && error?.location == "boot-001.1 turn 1")
        #expect(scripted.requests.isEmpty)
        // With more it goes on, and no turn is asked twice.
        #expect(await failure { try await talk(metered(scripted) { $0.tokens = 3500 }, ["a", "b", "c"]) }?.status == .budget)
        #expect(scripted.requests.count == 1)
        #expect(try await talk(metered(scripted), ["a", "b", "c"]) == ["one", "two", "three"])
        #expect(scripted.requests.count == 3)
        #expect(try scene.tokens() == [1570, 0, 0])
    }

    @Test func withoutAPriceTheModelIsNotAsked() async throws {
        let scripted = ScriptedTransport(replies)
        let error = await failure { try await talk(metered(scripted, prices: PriceTable()), ["a"]) }
        #expect(error?.status == .badConfiguration)
        #expect(
            error?.what
                == "no price is known for the model scripted; set prices.\"scripted\".input and output (0 if it costs nothing)")
        #expect(scripted.requests.isEmpty && !Files.exists(scene.directory["mailbox"]))
        try await talk(metered(scripted, needsPrice: false, prices: PriceTable()), ["a"])
        #expect(try scene.summary().run.spent == Amount(usd: .zero, tokens: 60))
    }

    /// Killed after the response was in the transcript and before it was settled: the one that takes the conversation up settles
    /// it, and not again when it is taken up once more.
    @Test func aTurnThatIsInTheTranscriptIsSettledOnResume() async throws {
        try scene.ledger(prices: table).reserve(LedgerScene.worst(5000), model: "scripted", at: turn("boot-001.1"))
        try await talk(ScriptedTransport(replies), ["a"])
        #expect(try scene.tokens() == [0, 5000, 0])
        try await talk(metered(ScriptedTransport(replies)), ["a", "b"])
        #expect(try scene.tokens() == [140, 0, 0])
        let text = try scene.text()
        try await talk(metered(ScriptedTransport(replies)), ["a", "b"])
        #expect(try scene.text() == text)
        // What the transcript tells bounds the next turn.
        try await talk(metered(ScriptedTransport(replies)), ["a", "b", "c"])
        #expect(try reservedInput().last == 80 + 2048 + CompactJSON.encode([ChatMessage.user("c")]).count)
    }

    /// A command that is not there has asked nobody; one that says so at its end may have.
    @Test(arguments: [
        ("no-such-model --fast", "release"), ("/nowhere/model", "release"), ("/etc/passwd x", "release"),
        ("cat; no-such-model", "abandon"),
        ("exec no-such-model", "abandon"), ("exit 127", "release"), ("sh -c no-such-model", "abandon"),
        ("env no-such-model", "abandon"),
    ])
    func aCommandThatCannotStartCostsNothing(_ command: String, _ event: String) async throws {
        let error = await failure { try await talk(metered(ExecTransport(command: command), needsPrice: false), ["a"]) }
        #expect(error?.status == .unavailable && error?.what.hasPrefix("the model command failed (exit status 12") == true)
        #expect(try scene.lines().map(\.first) == ["reserve", event])
    }

    /// A process that was killed while it waited for a response, and one whose command failed, may have been billed.
    @Test func whatMayHaveBeenBilledStaysCounted() async throws {
        try scene.ledger(prices: table).reserve(LedgerScene.worst(5000), model: "scripted", at: turn("boot-001.1"))
        #expect(
            await failure { try await talk(metered(ExecTransport(command: "exit 1"), needsPrice: false), ["a"]) }?.status
                == .unavailable)
        #expect(try scene.lines().map(\.first) == ["reserve", "reserve", "abandon"])
        #expect(try scene.lines()[1][7...] == scene.lines()[2][7...])
        let failed = try #require(Int(scene.lines()[1][7])) + 1000
        try await talk(metered(ScriptedTransport(replies)), ["a"])
        #expect(try scene.tokens() == [60, 0, 5000 + failed])
    }

    /// A question that lies at the desk is the same one when it is asked again.
    @Test func aQuestionAtTheDeskCountsOnce() async throws {
        try scene.ledger(prices: table).reserve(LedgerScene.worst(5000), model: "scripted", at: turn("boot-001.1"))
        let desk = scene.directory["desk"], model = FileTransport(directory: desk) { _ in }
        try Files.createDirectories(desk)
        async let heard = talk(metered(model, .hereOnce, needsPrice: false), ["a"])
        let question = FileTransport.request(turn("boot-001.1"), in: desk)
        try await scene.eventually { Files.exists(question) }
        try Files.replace(FileTransport.response(turn("boot-001.1"), in: desk), CompactJSON.encode(replies[0]))
        #expect(try await heard == ["one"])
        #expect(try scene.tokens() == [60, 0, 0])
        #expect(try Files.list(desk) == [])
    }

    /// A transport that reserves for every request that it makes is only settled here.
    @Test func whoReservesThemselvesIsLeftToIt() async throws {
        let ledger = scene.ledger(prices: table)
        let meter = BudgetMeter(ledger, needsPrice: true)
        let inner = Retrying(meter: meter, ScriptedTransport(replies))
        try await talk(MeteredTransport(inner, meter, reserving: .there), ["a"])
        #expect(try scene.lines().map(\.first) == ["reserve", "release", "reserve", "abandon", "reserve", "settle"])
        #expect(try ledger.summary()?.run.spent.tokens == 60)
    }

    @Test func theRestIsForwarded() throws {
        let directory = try TemporaryDirectory()
        let desk = metered(FileTransport(directory: directory.path) { _ in })
        #expect(desk.model == "live language model, file transport")
        try desk.close("boot-001.1")
        #expect(Files.exists(FileTransport.over("boot-001.1", in: directory.path)))
    }
}

/// Meters every request that it makes by itself: one that is turned away, one that is cut off, one that is answered.
private struct Retrying: Transport {
    let meter: any Meter
    let transport: ScriptedTransport
    var model: String { transport.model }

    init(meter: any Meter, _ transport: ScriptedTransport) {
        self.meter = meter
        self.transport = transport
    }

    func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        let bytes = try CompactJSON.encode(request).count
        try meter.reserve(request, body: bytes, at: turn)
        try meter.release(turn)
        try meter.reserve(request, body: bytes, at: turn)
        try meter.abandon(turn)
        try meter.reserve(request, body: bytes, at: turn)
        return try await transport.respond(to: request, at: turn)
    }
}
