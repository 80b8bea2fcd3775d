import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// A conversation on disk: one JSON object a line, appended as it happens and never rewritten.
///
/// The first line is the opening: everything that stays the same. Then, for every turn, a request line that holds the
/// messages that are new in it, written before the model is asked, and a response line, on disk before anything is
/// done with it. A killed run goes on where its transcript ends, so nothing is paid for twice.
package struct Transcript: Sendable {
    /// What the requests of a conversation have in common.
    package struct Opening: Codable, Sendable, Equatable {
        package var conversation: String
        package var role: String
        package var maxTokens: Int
        package var system: String
        package var tools: [Tool]
        /// The tree that the conversation is about.
        package var baseTree: String

        package init(conversation: String, role: String, maxTokens: Int, system: String, tools: [Tool], baseTree: String) {
            self.conversation = conversation
            self.role = role
            self.maxTokens = maxTokens
            self.system = system
            self.tools = tools
            self.baseTree = baseTree
        }
    }

    /// One line of the file.
    enum Line: Codable, Equatable {
        case opening(Opening)
        case request(turn: Int, messages: [ChatMessage])
        case response(turn: Int, response: MessagesResponse)

        private enum Key: String, CodingKey { case type, format, opening, turn, messages, response }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            switch try container.decode(String.self, forKey: .type) {
            case "opening":
                let format = try container.decode(Int.self, forKey: .format)
                guard format == Transcript.format else {
                    throw AutonError(.badInput, "unknown transcript format \(format)")
                }
                self = .opening(try container.decode(Opening.self, forKey: .opening))
            case "request":
                self = .request(
                    turn: try container.decode(Int.self, forKey: .turn),
                    messages: try container.decode([ChatMessage].self, forKey: .messages))
            case "response":
                self = .response(
                    turn: try container.decode(Int.self, forKey: .turn),
                    response: try container.decode(MessagesResponse.self, forKey: .response))
            case let type:
                throw AutonError(.badInput, "unknown transcript line \(type)")
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            switch self {
            case .opening(let opening):
                try container.encode("opening", forKey: .type)
                try container.encode(Transcript.format, forKey: .format)
                try container.encode(opening, forKey: .opening)
            case .request(let turn, let messages):
                try container.encode("request", forKey: .type)
                try container.encode(turn, forKey: .turn)
                try container.encode(messages, forKey: .messages)
            case .response(let turn, let response):
                try container.encode("response", forKey: .type)
                try container.encode(turn, forKey: .turn)
                try container.encode(response, forKey: .response)
            }
        }
    }

    package static let format = 1

    package let path: FilePath
    package private(set) var opening: Opening?
    /// The new messages of each turn's request, counted from 0.
    package private(set) var requests: [[ChatMessage]] = []
    package private(set) var responses: [MessagesResponse] = []
    /// Bytes of whole lines in the file: where the next one goes.
    private var end = 0

    /// Reads what there is. A last line without its newline was being written when the writer was killed; it does not count.
    ///
    /// - Throws: `AutonError` with `.badInput` if a whole line is malformed or out of order.
    package init(reading path: FilePath) throws {
        self.path = path
        guard Files.exists(path) else { return }
        for (number, line) in Self.wholeLines(try Files.read(path)).enumerated() {
            let place = "\(path):\(number + 1)"
            end += line.count + 1
            switch try CompactJSON.decode(Line.self, from: Array(line), at: place) {
            case .opening(let opening) where number == 0: self.opening = opening
            case .request(let turn, let messages)
            where opening != nil && turn == requests.count + 1 && turn == responses.count + 1:
                requests.append(messages)
            case .response(let turn, let response) where turn == responses.count + 1 && turn == requests.count:
                responses.append(response)
            default: throw AutonError(.badInput, "transcript line out of order", at: place)
            }
        }
    }

    private static func wholeLines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        lines.removeLast()
        return lines
    }

    package mutating func append(_ opening: Opening) throws {
        try append(.opening(opening))
        self.opening = opening
    }

    package mutating func append(request messages: [ChatMessage]) throws {
        try append(.request(turn: requests.count + 1, messages: messages))
        requests.append(messages)
    }

    package mutating func append(_ response: MessagesResponse) throws {
        try append(.response(turn: responses.count + 1, response: response))
        responses.append(response)
    }

    private mutating func append(_ line: Line) throws {
        let bytes = try CompactJSON.encode(line) + [UInt8(ascii: "\n")]
        try Files.failing("cannot append", at: path) {
            let file = try FileDescriptor.open(
                path, .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter {
                guard try file.seek(offset: 0, from: .end) >= end else {
                    throw AutonError(.tryAgain, "somebody else has shortened the transcript", at: path.string)
                }
                // What a killed or failed write has left behind the whole lines goes.
                if ftruncate(file.rawValue, off_t(end)) != 0 { throw Errno(rawValue: errno) }
                try file.writeAll(toAbsoluteOffset: Int64(end), bytes)
                if fsync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
            }
        }
        end += bytes.count
        if opening == nil { try Files.syncDirectory(path.removingLastComponent()) }
    }

    /// What the calls of the reply to a request came to, by the calls' ids; none if it was not come to that.
    package func results(ofCallsIn turn: Int) -> [String: ToolResult] {
        guard turn < requests.count else { return [:] }
        return Dictionary(requests[turn].flatMap(\.toolResults).map { ($0.toolUseID, $0) }) { first, _ in first }
    }

    package var usage: TokenUsage { responses.reduce(TokenUsage()) { $0 + $1.usage.tokens } }

    /// What a message says of the conversation it came out of.
    package func provenance() async throws -> Provenance {
        Provenance(
            model: responses.last?.model ?? "none", transcript: try await Tools.digest(of: path), turns: responses.count,
            usage: usage)
    }
}
