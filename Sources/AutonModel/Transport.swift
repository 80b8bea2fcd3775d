import AutonKit
import AutonSettings
import SystemPackage

/// Which request of which conversation.
package struct Turn: Sendable, Hashable {
    package var conversation: String
    /// Counted from 1.
    package var number: Int

    package init(conversation: String, number: Int) {
        self.conversation = conversation
        self.number = number
    }
}

/// A program behind the Messages API's protocol.
package protocol Transport: Sendable {
    /// The name to ask for in a request's `model`.
    var model: String { get }

    /// - Throws: `AutonError` with `.unavailable`, `.tryAgain`, `.badInput`, `.badConfiguration` or `.budget`, or
    ///   `ContextWindowExceeded`; the turn has no answer then.
    func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse

    /// Told once the response is on disk in the transcript; when a conversation is taken up again, of the turns that it has
    /// already, since a kill may have come between.
    func settle(_ turn: Turn, _ response: MessagesResponse) throws

    /// Told when no further turn of a conversation will come.
    func close(_ conversation: String) throws

    /// What a call in the answer at a turn came to when that was recorded; nil if nothing is known of that.
    func recordedResult(of call: ToolUse, at turn: Turn) throws -> ToolResult?
}

extension Transport {
    package func settle(_ turn: Turn, _ response: MessagesResponse) throws {}
    package func close(_ conversation: String) throws {}
    package func recordedResult(of call: ToolUse, at turn: Turn) throws -> ToolResult? { nil }
}

/// The transports, chosen by URI; that to a server is opened where libcurl is linked.
package enum Transports {
    package static let help = "replay:RUN, exec:COMMAND, file:DIR, https://SERVER and http://127.0.0.1:PORT"

    /// - Parameters:
    ///   - runs: the directory of recorded runs.
    ///   - strict: drift from the recording is an error.
    ///   - report: told of drift.
    package static func open(
        _ uri: String, runs: FilePath, strict: Bool, report: @escaping @Sendable (String) -> Void
    ) throws -> any Transport {
        let parts = uri.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { throw unknown(uri) }
        switch parts[0] {
        case "replay": return try ReplayTransport(run: parts[1], runs: runs, strict: strict, report: report)
        case "exec": return ExecTransport(command: parts[1])
        case "file": return FileTransport(directory: FilePath(parts[1]), report: report)
        default: throw unknown(uri)
        }
    }

    private static func unknown(_ uri: String) -> AutonError {
        AutonError(.badConfiguration, "no such transport (there are \(help))", at: uri.withoutUser)
    }
}
