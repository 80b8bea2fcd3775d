import AutonModel
import Testing

@testable import AutonClient

@Suite struct RedactionTests {
    private let redact = Redaction(key: "sk-secret-0123")

    @Test func theKeyIsTakenOut() {
        #expect(redact("sk-secret-0123") == "[key]")
        #expect(redact("ssk-secret-012sk-secret-0123, sk-secret-0123!") == "ssk-secret-012[key], [key]!")
        #expect(redact("sk-secret-012") == "sk-secret-012")
        #expect(redact("") == "")
        #expect(redact(["a": ["sk-secret-0123", 1], "sk-secret-0123": .null]) == ["a": ["[key]", 1], "[key]": .null])
    }

    @Test func anAnswerIsSearchedEverywhere() throws {
        let key = "a sk-secret-0123 b"
        let response = MessagesResponse(
            id: key, model: key,
            content: [
                .text(key), .toolUse(ToolUse(id: key, name: key, input: ["x": .string(key)])),
                .other(["type": "thinking", "thinking": .string(key)]),
                .toolResult(ToolResult(toolUseID: key, content: key, isError: true)),
            ], stopReason: key, usage: MessagesResponse.Usage(inputTokens: 1, outputTokens: 1))
        let text = String(decoding: try CompactJSON.encode(redact(response)), as: UTF8.self)
        #expect(!text.contains("secret") && text.ranges(of: "a [key] b").count == 10)
    }

    @Test func anErrorIsOneShortLine() {
        func message(_ text: String) -> String { redact(Failure(.interrupted, text)).message }
        #expect(message("a\nb\r\n\u{1B}[31mred sk-secret-0123") == "a b   [31mred [key]")
        // At any place where it might be cut.
        for length in 480...505 {
            let text = message(String(repeating: "x", count: length) + "sk-secret-0123" + String(repeating: "y", count: 20))
            #expect(text.count <= 501 && !text.contains("sk-"))
        }
    }

    @Test func aWordIsNoSecret() {
        for key in [nil, "", "ollama"] { #expect(Redaction(key: key)("ask ollama") == "ask ollama") }
    }
}
