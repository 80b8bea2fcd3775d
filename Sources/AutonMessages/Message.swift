/// What a message is about: one directory of the mailbox a kind.
package enum Kind: String, Codable, CaseIterable, Sendable {
    case goal, plan, task, candidate, verdict, review, merge, blocked, composition
}

/// One immutable JSON file in `mailbox/<kind>/<name>.json`.
///
/// On the wire every message is an object with `kind` and `format` beside its own fields, keys in snake_case.
/// Readers ignore fields they do not know and refuse a `format` they do not know.
package protocol Message: Codable, Sendable, Equatable {
    static var kind: Kind { get }
    /// The version of the wire format; raised when a reader of the old one would misread the new one.
    static var format: Int { get }
    /// The file's name without `.json`; unique within the kind.
    var name: String { get }
}

extension Message {
    package static var format: Int { 1 }
}

/// A message of an attempt at a task is named for both: `boot-002.1`.
package protocol AttemptMessage: Message {
    var task: String { get }
    var attempt: Int { get }
}

extension AttemptMessage {
    package var name: String { AttemptID(task: task, attempt: attempt).description }
    package var id: AttemptID { AttemptID(task: task, attempt: attempt) }
}

/// A message with its `kind` and `format`, as it lies on disk.
package struct Envelope<M: Message>: Codable {
    package var message: M

    package init(_ message: M) { self.message = message }

    private enum Key: String, CodingKey { case kind, format }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let kind = try container.decode(String.self, forKey: .kind)
        guard kind == M.kind.rawValue else { throw MessageError.wrongKind(kind, expected: M.kind) }
        let format = try container.decode(Int.self, forKey: .format)
        guard format == M.format else { throw MessageError.unknownFormat(format, kind: M.kind) }
        message = try M(from: decoder)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(M.kind, forKey: .kind)
        try container.encode(M.format, forKey: .format)
        try message.encode(to: encoder)
    }
}

/// Why a file is no message of the kind it lies under.
package enum MessageError: Error, CustomStringConvertible {
    case wrongKind(String, expected: Kind)
    case unknownFormat(Int, kind: Kind)
    case misnamed(String, expected: String)
    /// A link, a directory, a pipe.
    case notAFile

    package var description: String {
        switch self {
        case .wrongKind(let kind, let expected): "kind is \(kind), expected \(expected.rawValue)"
        case .unknownFormat(let format, let kind): "unknown format \(format) of \(kind.rawValue)"
        case .notAFile: "not a regular file"
        case .misnamed(let name, let expected): "named \(name), but its contents say \(expected)"
        }
    }
}
