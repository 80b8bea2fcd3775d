import AutonKit
import AutonModel
import SystemPackage
import Testing

@testable import auton_answer

@Suite struct ReplyTests {
    private let directory: TemporaryDirectory
    private let desk: Desk
    private let turn = Turn(conversation: "boot-002.1", number: 3)

    init() throws {
        directory = try TemporaryDirectory()
        desk = Desk(directory: directory.path.appending("desk"))
    }

    private func open(maxTokens: Int = 1000) throws -> OpenRequest {
        try desk.ask(turn, request(maxTokens: maxTokens))
        return try desk.open("boot-002.1")
    }

    @Test func aReplyIsWhatTheAPIWouldGive() throws {
        let open = try open()
        let calls = [Call(name: "list", input: [:]), Call(name: "write", input: ["path": "a", "content": "b"])]
        let response = try Reply(text: "Go.", calls: calls, model: "m").response(to: open)
        #expect(
            response.content == [
                .text("Go."), .toolUse(ToolUse(id: "toolu_boot-002_1_3_1", name: "list", input: [:])),
                .toolUse(ToolUse(id: "toolu_boot-002_1_3_2", name: "write", input: ["path": "a", "content": "b"])),
            ])
        #expect(response.id == "msg_boot-002_1_3")
        #expect(response.stopReason == "tool_use")
        #expect(response.usage.inputTokens == (open.bytes.count + 3) / 4)
        #expect(try Reply(text: "Done.", calls: [], model: "m").response(to: open).stopReason == "end_turn")
    }

    @Test func maxTokensIsEnforced() throws {
        let fits = Reply(text: String(repeating: "x", count: 400 - 27), calls: [], model: "m")
        #expect(try fits.tokens() == 100)
        _ = try fits.response(to: try open(maxTokens: 100))
        let error = #expect(throws: AutonError.self) { try fits.response(to: try open(maxTokens: 99)) }
        #expect(error?.status == .badInput)
        #expect(error?.what == "the reply has about 100 tokens, max_tokens is 99: make fewer or smaller calls")
    }

    @Test func whatTheAPIWouldNotHaveGivenIsRefused() throws {
        let open = try open()
        #expect(throws: AutonError.self) { try Reply(text: "", calls: [], model: "m").response(to: open) }
        #expect(throws: AutonError.self) {
            try Reply(text: "", calls: [Call(name: "format", input: [:])], model: "m").response(to: open)
        }
        #expect(throws: AutonError.self) {
            try Reply(text: "", calls: [Call(name: "edit", input: [:])], model: "m").response(to: open)
        }
    }

    @Test func aTurnIsAnsweredOnce() throws {
        let open = try open()
        let staging = try Staging(for: open, at: desk)
        let first = try Reply(text: "first", calls: [], model: "m").response(to: open)
        try desk.file(first, to: open, through: staging)
        let again = try Staging(for: open, at: desk)
        try again.add(Call(name: "list", input: [:]))
        let second = try Reply(text: "second", calls: [], model: "m").response(to: open)
        #expect(throws: AutonError.self) { try desk.file(second, to: open, through: again) }
        #expect(try desk.answer(turn) == first)
        #expect(try again.calls() == [Call(name: "list", input: [:])])
        try desk.settle(turn)
        let error = #expect(throws: AutonError.self) { try desk.file(second, to: open, through: again) }
        #expect(error?.status == .tryAgain)
        #expect(try again.calls().count == 1)
        #expect(try Files.list(desk.directory) == [".staged"])
    }
}
