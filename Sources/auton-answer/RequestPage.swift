import AutonModel

/// A request as text for whoever answers it.
struct RequestPage {
    let turn: Turn
    let request: MessagesRequest
    /// Whole seconds since it was asked.
    let age: Int

    /// What is new: on a conversation's first turn that is all.
    var news: String {
        if request.news.count == request.messages.count { return everything }
        return title + body(from: request.messages.count - request.news.count)
    }

    var everything: String { title + introduction + body(from: 0) }

    private var title: String {
        "══ \(turn.conversation), turn \(turn.number) (asked \(elapsed(age)) ago; at most \(request.maxTokens) tokens a reply)\n"
    }

    private var introduction: String {
        var text = "── system prompt\n" + whole(request.system)
        text += "── tools (values without a name fill the inputs in this order; those in [brackets] may be left out)\n"
        for tool in request.tools {
            let signature = ToolSignature(tool)
            text += signature.line + "\n" + indented(tool.description)
            for remark in signature.remarks { text += indented(remark) }
        }
        return text
    }

    /// The messages from one on, each call and its result under the same number.
    private func body(from first: Int) -> String {
        var calls: [String: (number: Int, call: Call)] = [:]
        var text = ""
        for (index, message) in request.messages.enumerated() {
            var shown = ""
            if message.role == .assistant { calls = [:] }
            for block in message.content {
                switch block {
                case .text(let words):
                    let isTask = index == 0 && message.role == .user
                    shown += (message.role == .assistant ? "── you wrote\n" : isTask ? "── task\n" : "── note\n") + whole(words)
                case .toolUse(let use):
                    let call = Call(name: use.name, input: use.input)
                    calls[use.id] = (calls.count + 1, call)
                    shown += "── you called: \(calls.count) \(short(call))\n"
                case .toolResult(let result):
                    let heading =
                        calls[result.toolUseID].map { "\($0.number) \(short($0.call))" }
                        ?? "result of the unknown call \(result.toolUseID)"
                    shown += "── \(heading)\(result.isError ? "  [ERROR]" : "")\n" + whole(result.content)
                case .other(let value):
                    shown += "── \(value["type"]?.string ?? "block")\n" + whole(value.compact)
                }
            }
            if index >= first { text += shown }
        }
        return text
    }

    private func short(_ call: Call) -> String { call.short(for: request.tools.first { $0.name == call.name }) }

    private func whole(_ text: String) -> String {
        text.isEmpty ? "(nothing)\n" : text.hasSuffix("\n") ? text : text + "\n"
    }

    private func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "    \($0)\n" }.joined()
    }
}

extension RequestPage {
    init(_ open: OpenRequest) { self.init(turn: open.turn, request: open.request, age: open.entry.age) }
}

/// Seconds as one would say them: `40 s`, `12 min`, `3 h`.
func elapsed(_ seconds: Int) -> String {
    seconds < 120 ? "\(seconds) s" : seconds < 7200 ? "\(seconds / 60) min" : "\(seconds / 3600) h"
}
