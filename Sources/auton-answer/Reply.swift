import AutonKit
import AutonModel
import Glibc
import SystemPackage

/// A turn of the model's: text, then calls.
struct Reply {
    var text: String
    var calls: [Call]
    var model: String

    static let model = "live language model, file transport"

    private var content: [ContentBlock] { content(ids: { "toolu_\($0)" }) }

    private func content(ids: (Int) -> String) -> [ContentBlock] {
        (text.isEmpty ? [] : [.text(text)])
            + calls.enumerated().map { .toolUse(ToolUse(id: ids($0 + 1), name: $1.name, input: $1.input)) }
    }

    /// Nobody counts tokens here; four bytes are about one.
    static func tokens(bytes: Int) -> Int { (bytes + 3) / 4 }

    func tokens() throws -> Int { Self.tokens(bytes: try CompactJSON.encode(content).count) }

    /// The reply as the API would give it.
    ///
    /// - Throws: `AutonError` with `.badInput` for what the API would not have given: an empty reply, one over
    ///   `max_tokens`, a call that its schema refuses.
    func response(to open: OpenRequest) throws -> MessagesResponse {
        let place = open.turn.conversation
        if text.isEmpty && calls.isEmpty { throw AutonError(.badInput, "the reply is empty: neither text nor a call", at: place) }
        for (index, call) in calls.enumerated() {
            let problems = call.problems(for: try open.tool(named: call.name))
            if !problems.isEmpty {
                throw AutonError(.badInput, "call \(index + 1): \(problems.joined(separator: "; "))", at: call.name)
            }
        }
        let tokens = try tokens(), most = open.request.maxTokens
        if tokens > most {
            throw AutonError(
                .badInput, "the reply has about \(tokens) tokens, max_tokens is \(most): make fewer or smaller calls", at: place)
        }
        // The API's ids are letters, digits, _ and -.
        let name = String(place.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "_" })
        return MessagesResponse(
            id: "msg_\(name)_\(open.turn.number)", model: model, content: content { "toolu_\(name)_\(open.turn.number)_\($0)" },
            stopReason: calls.isEmpty ? "end_turn" : "tool_use",
            usage: .init(inputTokens: Self.tokens(bytes: open.bytes.count), outputTokens: tokens))
    }
}

extension Desk {
    /// Files the answer to an open request, whole or not at all, and never over another one.
    func file(_ response: MessagesResponse, to open: OpenRequest, through staging: Staging) throws {
        let answer = FileTransport.response(open.turn, in: directory)
        guard Files.exists(open.entry.path) else {
            throw AutonError(
                .tryAgain, "turn \(open.turn.number) is over: its request is gone; what is staged stays",
                at: open.turn.conversation)
        }
        guard try Files.createDurably(answer, try CompactJSON.encode(response), temporary: staging.temporary) else {
            throw AutonError(
                .badInput, "turn \(open.turn.number) is answered already; what is staged stays", at: open.turn.conversation)
        }
        try staging.removeAll()
    }
}
