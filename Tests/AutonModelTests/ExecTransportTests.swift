import AutonKit
import Glibc
import TestSupport
import Testing

@testable import AutonModel

@Suite struct ExecTransportTests {
    private let turn = Turn(conversation: "boot-001.1", number: 3)
    private let request = MessagesRequest(model: "m", maxTokens: 9, system: "s", tools: [], messages: [.user("hi")])

    private func ask(_ command: String) async throws -> MessagesResponse {
        try await ExecTransport(command: command).respond(to: request, at: turn)
    }

    @Test func theRequestComesInAndTheResponseGoesOut() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("response", String(decoding: CompactJSON.encode(reply(text: "ho")), as: UTF8.self))
        setenv("AUTON_TEST_KEY", "key", 1)
        let seen = directory["seen"]
        let response = try await ask(
            "cat >\(seen); echo $AUTON_CONVERSATION $AUTON_TURN $AUTON_TEST_KEY >>\(seen); cat \(directory["response"])")
        #expect(response == reply(text: "ho"))
        #expect(try directory.read("seen") == String(decoding: CompactJSON.encode(request), as: UTF8.self) + "boot-001.1 3 key\n")
    }

    @Test(arguments: [
        ("exit 3", "the model command failed (exit status 3): exit 3"),
        (
            "echo one >&2; echo over quota >&2; exit 1",
            "the model command failed (exit status 1): over quota: echo one >&2; echo over quota >&2; exit 1"
        ),
        ("kill -9 $$", "the model command failed (killed by signal 9): kill -9 $$"),
    ])
    func aFailedCommandSaysWhy(command: String, message: String) async {
        let error = await failure { try await ask(command) }
        #expect(error?.status == .unavailable)
        #expect(error?.description == message)
    }

    @Test(arguments: ["true", "echo no json", "echo '{}'", "echo '[]'"])
    func whatIsNoResponse(_ command: String) async {
        let error = await failure { try await ask(command) }
        #expect(error?.status == .unavailable)
        #expect(error?.what.hasPrefix("the model command's reply is no response: malformed JSON: ") == true)
        #expect(error?.location == command)
    }

    @Test func anErrorOfTheAPIsIsToldInItsWords() async {
        let command = #"echo '{"type":"error","error":{"type":"overloaded_error","message":"too busy"}}'"#
        let error = await failure { try await ask(command) }
        #expect(error?.status == .unavailable && error?.what == "the model command's reply is an error: too busy")
    }

    @Test func aCommandThatDoesNotReadItsInputMayAnswer() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("response", String(decoding: CompactJSON.encode(reply(text: "ho")), as: UTF8.self))
        let long = MessagesRequest(
            model: "m", maxTokens: 9, system: String(repeating: "s", count: 1 << 20), tools: [], messages: [])
        let response = try await ExecTransport(command: "exec cat \(directory["response"])").respond(to: long, at: turn)
        #expect(response.text == "ho")
    }
}
