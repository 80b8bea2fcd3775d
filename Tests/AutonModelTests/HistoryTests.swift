import AutonKit
import AutonModel
import Synchronization
import TestSupport
import Testing

/// What a model is sent of a long conversation.
@Suite struct HistoryTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A model with a window of 10,000 tokens that reads files of 4,000 bytes, one a turn, and is billed a token for four bytes.
    private final class Reader: Transport {
        let model = "reader"
        private let asked = Mutex<[[ChatMessage]]>([])
        /// Requests longer than this many bytes are refused; nil for none.
        let limit: Int?

        init(limit: Int? = nil) { self.limit = limit }

        var requests: [[ChatMessage]] { asked.withLock { $0 } }

        func respond(to request: MessagesRequest, at turn: Turn) throws -> MessagesResponse {
            let bytes = try CompactJSON.encode(request.messages).count
            if let limit, bytes > limit { throw ContextWindowExceeded("\(bytes) bytes are too long") }
            asked.withLock { $0.append(request.messages) }
            var answer = reply(("read", ["path": .string("\(turn.number).c")]))
            answer.usage = MessagesResponse.Usage(inputTokens: bytes / 4, outputTokens: 20)
            return answer
        }
    }

    private func result(_ turn: Int) -> ChatMessage {
        let text = String(repeating: "\(turn % 10)", count: 4000)
        return ChatMessage(role: .user, content: [.toolResult(ToolResult(toolUseID: "call-1", content: text, isError: false))])
    }

    @discardableResult
    private func read(_ turns: Int, _ transport: Reader, window: Int? = 10_000) async throws -> [[ChatMessage]] {
        let conversation = try Conversation(
            opening(), at: directory["t.jsonl"], transport: transport, window: window
        ) { _ in }
        for turn in 1...turns { _ = try await conversation.send(turn == 1 ? .user("Read.") : result(turn)) }
        return transport.requests
    }

    private func isCleared(_ message: ChatMessage) -> Bool {
        message.content.contains {
            if case .toolResult(let result) = $0 { result.content.hasPrefix("[cleared to save room: 4000 bytes") } else { false }
        }
    }

    @Test func nothingIsClearedWithoutNeed() async throws {
        #expect(try await !read(8, Reader()).joined().contains(where: isCleared))
        let other = try HistoryTests()
        #expect(try await !other.read(20, Reader(), window: nil).joined().contains(where: isCleared))
    }

    /// Every request fits, the beginning changes seldom, and the newest results are whole.
    @Test func oldResultsAreClearedInLargeSteps() async throws {
        let requests = try await read(40, Reader())
        #expect(try requests.allSatisfy { try CompactJSON.encode($0).count / 4 <= 9_000 + 100 })
        let broken = zip(requests, requests.dropFirst()).filter { Array($1.prefix($0.count)) != $0 }.count
        #expect((5...10).contains(broken), "\(broken) of 39 requests do not begin with the one before")
        for request in requests { #expect(!request.suffix(4).contains(where: isCleared)) }
        #expect(requests.last!.filter(isCleared).count >= 30)
    }

    @Test func takenUpAgainItClearsTheSame() async throws {
        let whole = try await read(30, Reader())
        try await HistoryTests(copying: directory, turns: 17).resumes(to: 30, as: whole)
    }

    private init(copying other: TemporaryDirectory, turns: Int) throws {
        directory = try TemporaryDirectory()
        let lines = try other.read("t.jsonl").split(separator: "\n").prefix(1 + 2 * turns)
        try directory.write("t.jsonl", lines.joined(separator: "\n") + "\n")
    }

    private func resumes(to turns: Int, as whole: [[ChatMessage]]) async throws {
        let rest = try await read(turns, Reader())
        #expect(rest.count == 13)
        #expect(rest == Array(whole.suffix(13)))
    }

    @Test func longInputsOfOldCallsAreClearedToo() async throws {
        let content = String(repeating: "x", count: 30_000)
        let replies = (1...6).map { _ in reply(("write", ["path": "a.c", "content": .string(content)])) }
        let transport = ScriptedTransport(replies)
        let conversation = try Conversation(
            opening(), at: directory["t.jsonl"], transport: transport, window: 2000
        ) { _ in }
        for turn in 1...6 { _ = try await conversation.send(turn == 1 ? .user("Write.") : result(turn)) }
        #expect(transport.requests.count == 6)
        guard case .toolUse(let first) = transport.requests[5].messages[1].content[0] else { return #expect(Bool(false)) }
        #expect(first.input == ["path": "a.c", "content": "[cleared to save room: 30000 bytes]"])
    }

    /// The window is smaller than was thought.
    @Test func aRequestThatIsTooLongIsSentAgainShorter() async throws {
        let requests = try await read(12, Reader(limit: 20_000), window: nil)
        #expect(requests.count == 12)
        #expect(requests.last!.contains(where: isCleared))
    }

    @Test func whenNothingIsLeftToClearItEnds() async throws {
        let error = await #expect(throws: ContextWindowExceeded.self) { try await read(12, Reader(limit: 6_000), window: nil) }
        #expect(error?.description.hasSuffix("bytes are too long") == true)
    }

    @Test func aTurnThatTheModelPausesGoesOn() async throws {
        let transport = ScriptedTransport([
            reply(text: "I begin", stopReason: "pause_turn"), reply(text: "and end", stopReason: "end_turn"),
            reply(text: "more", stopReason: "end_turn"),
        ])
        for _ in 1...2 {
            let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: transport) { _ in }
            #expect(try await conversation.send(.user("Go.")).text == "and end")
        }
        #expect(transport.requests.count == 2, "taken up again, nothing is asked again")
        #expect(transport.requests[1].messages.map(\.role) == [.user, .assistant])
        #expect(transport.requests[1].news == [])
    }

    @Test func aModelThatOnlyPausesIsLeft() async throws {
        let transport = ScriptedTransport((1...20).map { _ in reply(text: "…", stopReason: "pause_turn") })
        let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: transport) { _ in }
        #expect(await failure { try await conversation.send(.user("Go.")) }?.status == .tryAgain)
        #expect(transport.requests.count == 11)
    }
}
