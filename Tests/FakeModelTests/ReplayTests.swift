import AutonKit
import AutonModel
import SystemPackage
import TestSupport
import Testing

@Suite struct ReplayTests {
    private static let run = Program.package.appending("runs/01-minimal-boot")

    private static func transcript(_ name: String) throws -> Transcript {
        try Transcript(reading: run.appending("transcript/\(name).jsonl"))
    }

    /// The request of a recorded turn.
    private static func request(_ name: String, turn: Int, streamed: Bool) throws -> JSONValue {
        let transcript = try transcript(name)
        var messages: [ChatMessage] = []
        for earlier in 0..<turn {
            messages += transcript.requests[earlier]
            if earlier < turn - 1 {
                messages.append(ChatMessage(role: .assistant, content: transcript.responses[earlier].content))
            }
        }
        guard let opening = transcript.opening else { throw AutonError(.bug, "no opening") }
        return [
            "model": "claude-opus-5-5", "max_tokens": .integer(opening.maxTokens), "stream": .bool(streamed),
            "system": .string(opening.system), "tools": try json(opening.tools), "messages": try json(messages),
        ]
    }

    /// Streamed, streamed byte by byte, and whole, a conversation's answers are the recorded ones.
    @Test(arguments: [(true, nil), (true, 1), (false, nil)] as [(Bool, Int?)])
    func wholeConversation(streamed: Bool, chunk: Int?) async throws {
        let name = "lib-003.2"
        let model = try FakeModel(script: chunk.map { [["chunk": .integer($0), "repeat": 0]] } ?? [], replay: Self.run)
        let recorded = try Self.transcript(name).responses
        for turn in 1...recorded.count {
            let reply = try await model.post(Self.request(name, turn: turn, streamed: streamed))
            let answer = try streamed ? assembled(reply.events) : response(reply.json)
            #expect(answer.content == recorded[turn - 1].content)
            #expect(answer.id == recorded[turn - 1].id)
            #expect(answer.stopReason == recorded[turn - 1].stopReason)
            #expect(answer.model == "claude-opus-5-5")
        }
        let log = try await model.log()
        #expect(log.map { $0["conversation"] } == recorded.map { _ in JSONValue.string(name) })
        #expect(log.map { $0["turn"] } == (1...recorded.count).map(JSONValue.integer))
    }

    /// A first message that is not the recorded one names its conversation.
    @Test func lookUp() async throws {
        let model = try FakeModel(replay: Self.run)
        func ask(_ first: String) async throws -> CurlReply { try await model.post(asking(user(.string(first)))) }
        func id(_ name: String) throws -> JSONValue? { try Self.transcript(name).responses.first.map { .string($0.id) } }
        #expect(try await ask("# Changed\n\nTask: boot-002, attempt 2\n").json["id"] == id("boot-002.2"))
        #expect(
            try await ask("# Review: Changed\n\nTask: boot-002, attempt 1; subsystem boot\n").json["id"]
                == id("boot-002.1.review"))
        #expect(try await ask("The goal:\n\nBuild another kernel\n").json["id"] == id("plan-1"))
        let unknown = try await ask("# New\n\nTask: boot-009, attempt 1\n")
        #expect(unknown.status == 400)
        #expect(
            try unknown.error.hasSuffix("01-minimal-boot has no conversation that begins: # New\n\nTask: boot-009, attempt 1\n"))
        let over = try await model.post(
            asking(
                user("Task: lib-003, attempt 2"), assistant("a"), user("b"), assistant("c"), user("d"), assistant("e"), user("f"),
                assistant("g"), user("h")))
        #expect(try over.error.hasSuffix("lib-003.2 ends before turn 5"))
    }

    /// The no-op conversation calls tools that there are, as their schemas want it.
    @Test func noopTurns() async throws {
        let model = try FakeModel("--noop-turns", "2")
        guard let tools = try Self.transcript("boot-001.1").opening?.tools else { throw AutonError(.bug, "no opening") }
        var messages = [user("hi")]
        var names: [String] = []
        for turn in 1...3 {
            let reply = try await model.post(asking().with("messages", .array(messages)))
            let answer = try response(reply.json)
            let call = try #require(answer.toolUses.first)
            let tool = try #require(tools.first { $0.name == call.name })
            #expect(JSONSchema(tool.inputSchema).problems(in: call.input) == [])
            names.append(call.name)
            messages += [assistant([use(call.id, input: call.input)]), user([result(call.id)])]
            #expect(turn == 3 || answer.stopReason == "tool_use")
        }
        #expect(names == ["list", "list", "finish"])
    }
}
