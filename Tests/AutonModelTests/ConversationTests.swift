import AutonKit
import AutonModel
import SystemPackage
import TestSupport
import Testing

@Suite struct ConversationTests {
    private let directory: TemporaryDirectory
    private let path: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        path = directory["t.jsonl"]
    }

    private func talk(_ transport: any Transport, _ words: [String], report: @escaping (String) -> Void = { _ in }) async throws
        -> [String]
    {
        let conversation = try Conversation(opening(), at: path, transport: transport, report: report)
        var heard: [String] = []
        for word in words { heard.append(try await conversation.send(.user(word)).text) }
        return heard
    }

    private var replies: [MessagesResponse] { ["one", "two", "three"].map { reply(text: $0, stopReason: "end_turn") } }

    @Test func everyRequestHasAllThatWasSaid() async throws {
        let transport = ScriptedTransport(replies)
        #expect(try await talk(transport, ["a", "b", "c"]) == ["one", "two", "three"])
        #expect(transport.requests.map(\.messages.count) == [1, 3, 5])
        #expect(transport.requests[2].messages.map(\.role) == [.user, .assistant, .user, .assistant, .user])
        #expect(
            transport.requests[0].model == "scripted" && transport.requests[0].maxTokens == 1000
                && transport.requests[0].system == "You build.")
        #expect(transport.settled == [1, 2, 3])
    }

    /// Counts what a model command is really asked.
    private func counting() throws -> (transport: ExecTransport, asked: () throws -> [String]) {
        let log = directory["asked"]
        let answer = String(decoding: try CompactJSON.encode(reply(text: "fine", stopReason: "end_turn")), as: UTF8.self)
        let command = "cat >/dev/null; echo $AUTON_CONVERSATION $AUTON_TURN >>\(log); echo '\(answer)'"
        return (
            ExecTransport(command: command),
            { Files.exists(log) ? try Files.readText(log).split(separator: "\n").map(String.init) : [] }
        )
    }

    @Test func nothingIsAskedTwice() async throws {
        let (transport, asked) = try counting()
        _ = try await talk(transport, ["a"])
        _ = try await talk(transport, ["a", "b"])
        _ = try await talk(transport, ["a", "b", "c"])
        #expect(try asked() == ["boot-001.1 1", "boot-001.1 2", "boot-001.1 3"])
        #expect(try Transcript(reading: path).responses.count == 3)
    }

    @Test func aRequestWithoutAnAnswerIsAskedAgainAndWrittenOnce() async throws {
        #expect(await failure { try await talk(ExecTransport(command: "exit 1"), ["a"]) }?.status == .unavailable)
        #expect(try Transcript(reading: path).requests.count == 1)
        let (transport, asked) = try counting()
        _ = try await talk(transport, ["a"])
        #expect(try asked() == ["boot-001.1 1"])
        #expect(try Transcript(reading: path).requests.count == 1)
    }

    @Test func whatGoesAnotherWayThanBeforeIsReported() async throws {
        _ = try await talk(ScriptedTransport(replies), ["a", "b"])
        var reports: [String] = []
        let heard = try await talk(ScriptedTransport(replies), ["a", "B", "c"]) { reports.append($0) }
        #expect(heard == ["one", "two", "three"])
        #expect(reports == ["boot-001.1 turn 2 differs from what was recorded before the interruption"])
    }

    @Test func theOpeningIsThatOfTheBeginning() async throws {
        _ = try await talk(ScriptedTransport(replies), ["a"])
        let transport = ScriptedTransport(replies)
        let conversation = try Conversation(opening(system: "Another prompt."), at: path, transport: transport) { _ in }
        _ = try await conversation.send(.user("a"))
        _ = try await conversation.send(.user("b"))
        #expect(transport.requests.map(\.system) == ["You build."])
    }

    /// A kill after the answer is on disk and before the transport is told leaves its request open; it is told then.
    @Test func aTurnIsSettledEvenIfAKillCameBetween() async throws {
        _ = try await talk(ScriptedTransport(replies), ["a"])
        let transport = ScriptedTransport(replies)
        _ = try await talk(transport, ["a", "b"])
        #expect(transport.requests.count == 1)
        #expect(transport.settled == [1, 2])
    }
}
