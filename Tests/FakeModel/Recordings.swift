import AutonKit
import AutonModel
import SystemPackage

/// The conversations of a recorded run, found by the first message of a request, which is all that names one.
struct Recordings: Sendable {
    private struct Recording {
        var name: String
        var firstMessage: String
        var responses: [MessagesResponse]
    }

    private let run: FilePath
    private let recordings: [Recording]

    /// - Throws: `AutonError` if the directory is no recording.
    init(of run: FilePath) throws {
        self.run = run
        let directory = run.appending("transcript")
        recordings = try Files.list(directory).filter { $0.hasSuffix(".jsonl") }.map { name in
            let transcript = try Transcript(reading: directory.appending(name))
            let texts = transcript.requests.first?.first?.content.compactMap {
                if case .text(let text) = $0 { text } else { nil }
            }
            return Recording(
                name: String(name.dropLast(6)), firstMessage: (texts ?? []).joined(separator: "\n"),
                responses: transcript.responses)
        }
        if recordings.isEmpty { throw AutonError(.badInput, "no transcripts", at: directory.string) }
    }

    /// The name of the conversation; nil if there is none that such a message began.
    func name(of firstMessage: String) -> String? { find(firstMessage)?.name }

    /// - Throws: `APIError` if the recording has no such conversation, or ends before that turn.
    func response(to call: Call) throws -> JSON {
        guard let recording = find(call.firstMessage) else {
            throw APIError.invalid("\(run) has no conversation that begins: \(call.firstMessage.prefix(80))")
        }
        guard call.turn <= recording.responses.count else {
            throw APIError.invalid("\(run): \(recording.name) ends before turn \(call.turn)")
        }
        // The model that is asked is the one that answers.
        return try JSON(parsing: CompactJSON.encode(recording.responses[call.turn - 1])).without("model").without("usage")
    }

    /// The same first message; else the conversation that it says it is; of the Manager's the one that begins most alike.
    private func find(_ firstMessage: String) -> Recording? {
        if let same = recordings.first(where: { $0.firstMessage == firstMessage }) { return same }
        guard let name = ConversationName.of(firstMessage: firstMessage) else { return nil }
        guard name == "plan" else { return recordings.first { $0.name == name } }
        let plans = recordings.filter { $0.name.hasPrefix("plan-") }
        return plans.max { alike($0.firstMessage, firstMessage) < alike($1.firstMessage, firstMessage) }
    }

    private func alike(_ a: String, _ b: String) -> Int { zip(a.utf8, b.utf8).prefix { $0 == $1 }.count }
}
