import AutonKit
import AutonMessages
import SystemPackage

/// Answers from a recorded run, by conversation and turn.
///
/// The answer is the recorded one whatever is asked; where the request differs from the recorded one (the spec has
/// moved on, a tool prints something else), that is drift, which is reported, or an error if strict.
package struct ReplayTransport: Transport {
    package let model = "replay"
    /// The directory of the recorded run.
    package let run: FilePath
    package let strict: Bool
    private let report: @Sendable (String) -> Void

    /// - Parameter run: the name of a directory in `runs`, or a path.
    /// - Throws: `AutonError` with `.badConfiguration` if there is no such recording; it lists those that there are.
    package init(run: String, runs: FilePath, strict: Bool, report: @escaping @Sendable (String) -> Void) throws {
        self.run = try Self.find(run, in: runs)
        self.strict = strict
        self.report = report
    }

    /// The directory of a recorded run.
    package static func find(_ run: String, in runs: FilePath) throws -> FilePath {
        for candidate in [runs.appending(run), FilePath(run)] where Files.isDirectory(candidate.appending("transcript")) {
            return candidate
        }
        let names = try Files.list(runs).filter { Files.isDirectory(runs.appending($0).appending("transcript")) }
        let list = names.isEmpty ? "none in \(runs)" : names.joined(separator: ", ")
        throw AutonError(.badConfiguration, "no recording \(run) (there are: \(list))")
    }

    package func respond(to request: MessagesRequest, at turn: Turn) throws -> MessagesResponse {
        let recording = try recording(of: turn.conversation)
        guard turn.number <= recording.responses.count else {
            throw missing("the recording ends before turn \(turn.number)", at: turn.conversation)
        }
        if let drift = Self.drift(from: recording, to: request, turn: turn.number) {
            let message = "drift at \(turn.conversation) turn \(turn.number): \(drift)"
            if strict { throw AutonError(.badInput, message, at: recording.path.string) }
            report(message)
        }
        return recording.responses[turn.number - 1]
    }

    package func recordedResult(of call: ToolUse, at turn: Turn) throws -> ToolResult? {
        try recording(of: turn.conversation).results(ofCallsIn: turn.number)[call.id]
    }

    /// The goal that the run was recorded for.
    package func recordedGoal() throws -> String {
        try Mailbox(run).get(Goal.self, "1").text
    }

    /// The tree that a conversation was recorded on.
    package func recordedBase(of conversation: String) throws -> String {
        guard let opening = try recording(of: conversation).opening else {
            throw AutonError(.badInput, "the recording has no opening", at: conversation)
        }
        return opening.baseTree
    }

    /// Whether the run had a conversation of that name.
    package func has(_ conversation: String) -> Bool { Files.exists(path(of: conversation)) }

    /// More is asked than was recorded.
    private func missing(_ what: String, at place: String) -> AutonError {
        RecordedRun.isUnfinished(run)
            ? AutonError(.tryAgain, "the recorded run was stopped before that", at: place)
            : AutonError(.badInput, what, at: place)
    }

    private func path(of conversation: String) -> FilePath { run.appending("transcript").appending(conversation + ".jsonl") }

    package func recording(of conversation: String) throws -> Transcript {
        let path = path(of: conversation)
        guard Files.exists(path) else {
            throw missing("the recording has no such conversation", at: path.string)
        }
        return try Transcript(reading: path)
    }

    /// What differs between a recorded request and the present one, in one line; nil if nothing does.
    static func drift(from recording: Transcript, to request: MessagesRequest, turn: Int) -> String? {
        if turn == 1, let opening = recording.opening {
            if opening.system != request.system { return "system prompt: \(firstDifference(opening.system, request.system))" }
            if opening.tools != request.tools { return "tools" }
        }
        let then = recording.requests[turn - 1]
        if then == request.news { return nil }
        let before = then.flatMap(\.content), now = request.news.flatMap(\.content)
        guard before.count == now.count else { return "\(before.count) blocks then, \(now.count) now" }
        let pair = zip(before, now).first { $0 != $1 }
        return pair.map { firstDifference(text(of: $0), text(of: $1)) } ?? "roles"
    }

    private static func text(of block: ContentBlock) -> String {
        switch block {
        case .text(let text): text
        case .toolResult(let result): result.content
        case .toolUse, .other: (try? CompactJSON.encode(block)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
    }

    private static func firstDifference(_ a: String, _ b: String) -> String {
        let old = a.split(separator: "\n", omittingEmptySubsequences: false)
        let new = b.split(separator: "\n", omittingEmptySubsequences: false)
        let line = zip(old, new).enumerated().first { $1.0 != $1.1 }?.offset ?? min(old.count, new.count)
        func show(_ lines: [Substring]) -> String { line < lines.count ? "“\(lines[line].prefix(60))”" : "nothing" }
        return "line \(line + 1) was \(show(old)), is \(show(new))"
    }
}
