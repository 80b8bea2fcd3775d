import AutonKit
import AutonModel

/// How the loop of a conversation ended.
package enum AgentEnding: Sendable, Equatable {
    /// By the closing tool, with its input.
    case finished(JSONValue)
    /// It did not come to that.
    case gaveUp(Surrender)
}

/// Why a conversation ended without its closing tool.
package struct Surrender: Sendable, Equatable, CustomStringConvertible {
    package var reason: String
    /// What the model said in its last reply, which is often what stands in its way.
    package var lastWords: String

    /// In characters; of a longer reply these are the last.
    fileprivate static let maxWords = 4000

    package init(_ reason: String, lastWords: String = "") {
        self.reason = reason
        self.lastWords = lastWords
    }

    /// One line: the reason, and the begin of the last words.
    package var description: String {
        let words = lastWords.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return words.isEmpty ? reason : "\(reason): \(words.count <= 200 ? words : "\(words.prefix(199))…")"
    }
}

/// The agent: ask the model, do what it says, tell it what came of that, until it calls the closing tool.
package struct AgentLoop {
    package var conversation: Conversation
    package var tools: [any AgentTool]
    /// The tool that ends the conversation. Its `call` judges the input: an error goes back to the model.
    package var closing: any AgentTool
    package var maxTurns: Int
    /// Waited for before calls are made: what the tools work on may be made while the model thinks.
    package var ready: @Sendable () async throws -> Void = {}
    /// Called with the number of the request whose reply's calls are made, before the record has their results.
    package var made: @Sendable (Int) async throws -> Void = { _ in }
    /// The last request whose reply's calls need not be made again, since what the tools work on is as they left it; 0 for none.
    package var resumed = 0

    package init(conversation: Conversation, tools: [any AgentTool], closing: any AgentTool, maxTurns: Int) {
        self.conversation = conversation
        self.tools = tools
        self.closing = closing
        self.maxTurns = maxTurns
    }

    /// - Throws: what the model can do nothing about, such as a first request that is too long for it: `.badConfiguration`.
    package func run(task: String) async throws -> AgentEnding {
        let ending: AgentEnding
        do {
            ending = try await turns(task: task)
        } catch let error as ContextWindowExceeded {
            // Any other attempt would begin with the same request.
            if conversation.transcript.responses.isEmpty {
                throw AutonError(
                    .badConfiguration, "the first request is too long for the model: \(error)", at: conversation.name)
            }
            ending = surrender("the conversation is too long for the model: \(error)")
        }
        try conversation.close()
        return ending
    }

    private func turns(task: String) async throws -> AgentEnding {
        var news = ChatMessage.user(task)
        var circles = Circles()
        // Whether it was told that it goes round in circles; that is said once.
        var warned = false
        var silent = 0
        for turn in stride(from: 1, through: maxTurns, by: 1) {
            let response = try await conversation.send(news)
            if response.stopReason == "refusal" { return surrender("the model refused") }
            let calls = response.toolUses
            let isCutOff = ["max_tokens", "model_context_window_exceeded"].contains(response.stopReason)
            var notes: [String] = []
            var results: [ContentBlock] = []
            var failed = false
            let known = conversation.turn <= resumed ? conversation.transcript.results(ofCallsIn: conversation.turn) : [:]
            if calls.contains(where: { known[$0.id] == nil }) { try await ready() }
            for call in calls {
                // What comes last may be cut off in the middle.
                var output: ToolOutput =
                    if let result = known[call.id] {
                        ToolOutput(text: result.content, isError: result.isError)
                    } else if isCutOff && call == calls.last {
                        .error("Your reply was cut off here, so this call was not made. Make it again, in smaller parts.")
                    } else {
                        try await self.output(of: call, afterFailure: failed)
                    }
                if call.name == closing.definition.name && !output.isError {
                    // What was sent back when it was recorded is so again: the rules may be others now.
                    guard let then = try conversation.recordedResult(of: call) else { return .finished(call.input) }
                    output = ToolOutput(text: then.content, isError: then.isError)
                }
                failed = failed || output.isError
                results.append(.toolResult(ToolResult(toolUseID: call.id, content: output.text, isError: output.isError)))
                guard circles.isThirdTime(call, output) else { continue }
                if warned { return surrender("going round in circles with \(call.name)") }
                warned = true
                notes.append(
                    "You have made the same call of \(call.name) three times with the same result. Try something else, or call \(closing.definition.name)."
                )
            }
            if conversation.turn > resumed { try await made(conversation.turn) }
            if calls.isEmpty && isCutOff {
                notes.append("Your reply was cut off at its token limit. Go on from where it stopped.")
            } else if calls.isEmpty {
                silent += 1
                if silent == 3 { return surrender("three turns without a tool call") }
                notes.append(
                    "Your reply called no tool, so nothing was done. Go on with the task; when it is done, call \(closing.definition.name)."
                )
            }
            let left = maxTurns - turn
            if left == 5 || left == 1 { notes.append("\(left) turn\(left == 1 ? "" : "s") left.") }
            news = ChatMessage(role: .user, content: results + notes.map(ContentBlock.text))
        }
        return surrender("the limit of \(maxTurns) turns is reached")
    }

    private func surrender(_ reason: String) -> AgentEnding {
        let words = conversation.transcript.responses.last?.text ?? ""
        return .gaveUp(Surrender(reason, lastWords: String(words.suffix(Surrender.maxWords))))
    }

    private func output(of call: ToolUse, afterFailure failed: Bool) async throws -> ToolOutput {
        guard let tool = (tools + [closing]).first(where: { $0.definition.name == call.name }) else {
            return .error(
                "There is no tool \(call.name). The tools are \((tools + [closing]).map(\.definition.name).joined(separator: ", "))."
            )
        }
        // An input that is no JSON comes as the text that it is.
        if case .string(let text) = call.input {
            let shown = text.count <= 200 ? text : "\(text.prefix(100)) … \(text.suffix(100))"
            return .error("Not called: the input is not valid JSON: \(shown)")
        }
        let problems = JSONSchema(tool.definition.inputSchema).problems(in: call.input)
        guard problems.isEmpty else { return .error("Not called: \(problems.joined(separator: "; ")).") }
        if call.name == closing.definition.name && failed {
            return .error("Not counted: an earlier call of the same reply failed. Look at its result first.")
        }
        return try await tool.call(call.input)
    }
}

/// Notices calls that are made again and again.
private struct Circles {
    private struct Deed: Hashable {
        var name: String
        var input: JSONValue
        var output: String
    }

    private var times: [Deed: Int] = [:]
    /// The tools that change what the others see: after a new change the same call is no circle.
    private static let changes: Set<String> = ["write", "edit"]

    /// Whether the call was made three times or more with the same result, and nothing new was written in between.
    mutating func isThirdTime(_ call: ToolUse, _ output: ToolOutput) -> Bool {
        let deed = Deed(name: call.name, input: call.input, output: output.text)
        if Self.changes.contains(call.name) && !output.isError && times[deed] == nil { times = [:] }
        times[deed, default: 0] += 1
        return times[deed]! >= 3
    }
}
