import Synchronization

/// The answer to one request that the API would take.
struct Answering {
    var server: Server
    var call: Call
    var sequence: Int

    private var options: ServerOptions { server.options }

    /// The script's next step, with what it leaves open filled from the recording, the no-op turns or a plain text.
    ///
    /// - Throws: `APIError`; `ClientGone` if the client does not wait for it.
    func reply(_ entry: inout LogEntry, on connection: Connection) throws -> Reply {
        if entry.request.path.hasSuffix("/count_tokens") {
            return whole(["input_tokens": .integer(Prompt(of: call).tokens)])
        }
        let taken = options.script.next(for: call.firstMessage)
        let step = taken?.step ?? Step()
        entry.step = taken?.number
        if step.delay > 0 { try connection.pause(milliseconds: step.delay) }
        var reply: Reply
        if step.fault == .refuse {
            reply = Reply(status: 0, headers: [], body: .whole([]))
        } else if let raw = step.raw {
            reply = Reply(
                status: step.status ?? 200, headers: [("content-type", step.contentType)], body: .whole(Array(raw.utf8)))
        } else if let status = step.status {
            throw error(of: step, status: status)
        } else if step.fault == .errorEvent && !call.isStreamed {
            throw error(of: step, status: 529)
        } else {
            reply = try answer(step, &entry)
        }
        reply.headers += step.headers
        reply.fault = step.fault
        reply.after = step.after
        reply.chunk = step.chunk
        reply.pace = step.pace
        reply.errorEvent = EventStream.event(error(of: step, status: 529).body(requestID: "").without("request_id"))
        return reply
    }

    private func error(of step: Step, status: Int) -> APIError {
        APIError(
            status, step.error?["message"]?.string ?? "scripted error", type: step.error?["type"]?.string, headers: step.headers)
    }

    private func answer(_ step: Step, _ entry: inout LogEntry) throws -> Reply {
        let response = try self.response(step)
        let content = response["content"]?.array ?? []
        let stopReason = response["stop_reason"]?.string ?? Self.stopReason(of: content)
        let usage = self.usage(of: response)
        var message: JSON = [
            "id": .string("msg_fake_\(sequence)"), "type": "message", "role": "assistant", "model": .string(call.model),
            "content": .array(content.map(Self.filled)), "stop_reason": .string(stopReason), "stop_sequence": nil,
        ]
        for member in response.members ?? [] where member.name != "content" { message = message.with(member.name, member.value) }
        message = message.with("usage", response["usage"] ?? usage.json(plainly: options.isSubset))
        server.handedOut.remember(content, stopReason: stopReason, in: call)
        entry.usage = usage
        server.bill(usage)
        if !call.isStreamed { return whole(message) }
        let events = EventStream.events(of: message).map { step.extra + $0 }
        return Reply(status: 200, headers: [("content-type", "text/event-stream; charset=utf-8")], body: .events(events))
    }

    private func response(_ step: Step) throws -> JSON {
        if let response = step.response { return response }
        if let bytes = step.textBytes { return Self.text(Self.lines(bytes: bytes)) }
        if let recordings = options.recordings { return try recordings.response(to: call) }
        if let turns = options.noopTurns { return NoopTurns.response(to: call, of: turns) }
        return Self.text("done")
    }

    /// What the response says it used, if it does; else what it did.
    private func usage(of response: JSON) -> Usage {
        let prompt = Prompt(of: call)
        var usage = server.cache.withLock { $0.account(prompt, now: server.clock.now) }
        if let given = response["usage"] { return Usage(given) }
        let bytes = (response["content"]?.array ?? []).reduce(0) { $0 + $1.bytes.count }
        // No provider bills more than what was asked for.
        usage.output = min(max(1, bytes / 4), call.maxTokens)
        return usage
    }

    private func whole(_ json: JSON) -> Reply {
        Reply(status: 200, headers: [("content-type", "application/json")], body: .whole(json.bytes))
    }

    /// A tool's input can be given as text that is no JSON.
    private static func filled(_ block: JSON) -> JSON {
        guard block["type"] == "tool_use", let text = block["input_text"] else { return block }
        return block.without("input_text").with("input", text)
    }

    private static func stopReason(of content: [JSON]) -> String {
        content.contains { $0["type"] == "tool_use" } ? "tool_use" : "end_turn"
    }

    private static func text(_ text: String) -> JSON { ["content": [["type": "text", "text": .string(text)]]] }

    private static func lines(bytes: Int) -> String {
        let line = "A line of an answer that is as long as it was asked to be.\n"
        return String(String(repeating: line, count: bytes / line.utf8.count + 1).utf8.prefix(bytes)) ?? ""
    }
}
