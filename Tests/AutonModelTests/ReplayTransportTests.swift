import AutonKit
import AutonModel
import SystemPackage
import Synchronization
import TestSupport
import Testing

@Suite struct ReplayTransportTests {
    private let directory: TemporaryDirectory
    private let reports = Reports()

    final class Reports: Sendable { let lines = Mutex<[String]>([]) }

    init() throws {
        directory = try TemporaryDirectory()
        try Files.createDirectories(directory["runs/01-a/transcript"])
        try Files.createDirectories(directory["runs/02-b/transcript"])
        try Files.createDirectories(directory["runs/no-recording"])
        var transcript = try Transcript(reading: directory["runs/01-a/transcript/boot-001.1.jsonl"])
        try transcript.append(opening())
        try transcript.append(request: [.user("Build it.\nNow.")])
        try transcript.append(reply(("list", [:])))
        try transcript.append(request: [ChatMessage(role: .user, content: [result("boot/a.c  10\nboot/b.c  20")])])
        try transcript.append(reply(text: "Done.", stopReason: "end_turn"))
    }

    private func result(_ text: String) -> ContentBlock {
        .toolResult(ToolResult(toolUseID: "call-1", content: text, isError: false))
    }

    private func replay(_ words: [ChatMessage], system: String = "You build.", tools: [Tool] = [], strict: Bool = false)
        async throws -> [String]
    {
        let transport = try Transports.open("replay:01-a", runs: directory["runs"], strict: strict) { [reports] line in
            reports.lines.withLock { $0.append(line) }
        }
        let path = directory["now.jsonl"]
        let conversation = try Conversation(opening(system: system, tools: tools), at: path, transport: transport) { _ in }
        var heard: [String] = []
        for word in words { heard.append(try await conversation.send(word).text) }
        return heard
    }

    private var first: ChatMessage { .user("Build it.\nNow.") }
    private func second(_ text: String = "boot/a.c  10\nboot/b.c  20") -> ChatMessage {
        ChatMessage(role: .user, content: [result(text)])
    }

    @Test func answersAsRecorded() async throws {
        #expect(try await replay([first, second()], strict: true) == ["", "Done."])
        #expect(reports.lines.withLock { $0 } == [])
    }

    @Test func driftIsReportedWithItsFirstLine() async throws {
        #expect(try await replay([.user("Build it.\nLater."), second("boot/a.c  10\nboot/b.c  21")]) == ["", "Done."])
        #expect(
            reports.lines.withLock { $0 } == [
                "drift at boot-001.1 turn 1: line 2 was “Now.”, is “Later.”",
                "drift at boot-001.1 turn 2: line 2 was “boot/b.c  20”, is “boot/b.c  21”",
            ])
    }

    @Test func driftOfPromptAndToolsIsReported() async throws {
        _ = try await replay([first], system: "You build.\nWell.")
        #expect(reports.lines.withLock { $0 } == ["drift at boot-001.1 turn 1: system prompt: line 2 was nothing, is “Well.”"])
        try Files.removeTree(directory["now.jsonl"])
        _ = try await replay([first], tools: [Tool(name: "t", description: "", inputSchema: [:])])
        #expect(reports.lines.withLock { $0.last } == "drift at boot-001.1 turn 1: tools")
    }

    @Test func moreOrFewerBlocksAreDrift() async throws {
        _ = try await replay([first, ChatMessage(role: .user, content: [result("x"), .text("5 turns left.")])])
        #expect(reports.lines.withLock { $0 } == ["drift at boot-001.1 turn 2: 1 blocks then, 2 now"])
    }

    @Test func strictlyDriftIsAnError() async throws {
        let error = await failure { try await replay([.user("Build it.")], strict: true) }
        #expect(error?.status == .badInput)
        #expect(error?.what == "drift at boot-001.1 turn 1: line 2 was “Now.”, is nothing")
    }

    @Test func theRecordingEnds() async throws {
        let error = await failure { try await replay([first, second(), .user("more")]) }
        #expect(error?.status == .badInput)
        #expect(error?.description == "the recording ends before turn 3: boot-001.1")
    }

    @Test func aConversationThatWasNotRecordedIsBadInput() async throws {
        let transport = try ReplayTransport(run: directory["runs/01-a"].string, runs: "/nonexistent", strict: false) { _ in }
        #expect(try transport.recordedBase(of: "boot-001.1") == String(repeating: "0", count: 40))
        #expect(await failure { try transport.recordedBase(of: "boot-009.1") }?.status == .badInput)
    }

    @Test func aMissingRecordingListsWhatThereIs() async throws {
        let error = await failure { try Transports.open("replay:nothing", runs: directory["runs"], strict: false) { _ in } }
        #expect(error?.status == .badConfiguration)
        #expect(error?.description == "no recording nothing (there are: 01-a, 02-b)")
        let none = await failure { try Transports.open("replay:x", runs: directory["empty"], strict: false) { _ in } }
        #expect(none?.description == "no recording x (there are: none in \(directory.path)/empty)")
    }

    @Test(arguments: ["", "x", "http://example.org", "replay", "exec", ":x"])
    func unknownTransportsListWhatThereIs(_ uri: String) async throws {
        let error = await failure { try Transports.open(uri, runs: directory["runs"], strict: false) { _ in } }
        #expect(error?.status == .badConfiguration)
        #expect(
            error?.description
                == "no such transport (there are replay:RUN, exec:COMMAND, file:DIR, https://SERVER and http://127.0.0.1:PORT): \(uri)"
        )
    }
}
