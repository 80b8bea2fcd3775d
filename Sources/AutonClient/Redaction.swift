import AutonModel
import Glibc

/// Takes the key out of what a server says, in case it says the key: an answer lands in transcripts, an error on
/// terminals.
struct Redaction: Sendable {
    private let key: [UInt8]

    /// Shorter ones are no secrets but words, such as the `ollama` that local servers are given.
    private static let shortest = 12

    init(key: String?) {
        let bytes = Array((key ?? "").utf8)
        self.key = bytes.count < Self.shortest ? [] : bytes
    }

    func callAsFunction(_ text: String) -> String {
        if key.isEmpty || !contains(text) { return text }
        return text.replacing(String(decoding: key, as: UTF8.self), with: "[key]")
    }

    /// An error's words, fit for one line of a terminal: short, without control characters.
    func callAsFunction(_ failure: Failure) -> Failure {
        var failure = failure
        let line = String(
            self(failure.message).unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
        // Cut last: of a key that is cut in two, neither part would be known for one.
        failure.message = line.count <= 500 ? line : line.prefix(500) + "…"
        return failure
    }

    func callAsFunction(_ value: JSONValue) -> JSONValue {
        switch value {
        case .null, .bool, .integer, .number: value
        case .string(let text): .string(self(text))
        case .array(let items): .array(items.map { self($0) })
        case .object(let members):
            .object(Dictionary(members.map { (self($0), self($1)) }, uniquingKeysWith: { first, _ in first }))
        }
    }

    func callAsFunction(_ response: MessagesResponse) -> MessagesResponse {
        if key.isEmpty { return response }
        var response = response
        (response.id, response.model, response.stopReason) = (self(response.id), self(response.model), self(response.stopReason))
        response.content = response.content.map { block in
            switch block {
            case .text(let text): .text(self(text))
            case .toolUse(let use): .toolUse(ToolUse(id: self(use.id), name: self(use.name), input: self(use.input)))
            case .toolResult(let result):
                .toolResult(
                    ToolResult(toolUseID: self(result.toolUseID), content: self(result.content), isError: result.isError))
            case .other(let value): .other(self(value))
            }
        }
        return response
    }

    private func contains(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { text in
            var rest = UnsafeRawBufferPointer(text)
            while rest.count >= key.count, let found = memchr(rest.baseAddress!, Int32(key[0]), rest.count - key.count + 1) {
                if memcmp(found, key, key.count) == 0 { return true }
                rest = UnsafeRawBufferPointer(rebasing: rest[(UnsafeRawPointer(found) - rest.baseAddress! + 1)...])
            }
            return false
        }
    }
}
