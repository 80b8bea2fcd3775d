import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// A message as it lies on disk, in `Golden/`: a file of the kind it is named for.
struct Golden: Sendable, CustomTestStringConvertible {
    var name: String

    static let all: [Golden] = try! Files.list(directory).map { Golden(name: String($0.dropLast(5))) }
    private static let directory = FilePath(#filePath).removingLastComponent().appending("Golden")

    var testDescription: String { name }
    var kind: Kind { Kind(rawValue: String(name.prefix { $0 != "-" }))! }

    func bytes() throws -> [UInt8] { try Files.read(Self.directory.appending(name + ".json")) }
    func value() throws -> JSONValue { try CompactJSON.decode(JSONValue.self, from: bytes(), at: name) }
}

/// What a message type makes of bytes.
struct Reading: Equatable {
    var name: String
    var encoded: String

    init(_ kind: Kind, _ bytes: [UInt8]) throws {
        func read<M: Message>(_ type: M.Type) throws -> (String, [UInt8]) {
            let message = try Mailbox.decode(type, from: bytes)
            return (message.name, try Mailbox.encode(message))
        }
        let (name, encoded) =
            switch kind {
            case .goal: try read(Goal.self)
            case .plan: try read(Plan.self)
            case .task: try read(TaskMessage.self)
            case .candidate: try read(Candidate.self)
            case .verdict: try read(Verdict.self)
            case .review: try read(Review.self)
            case .merge: try read(Merge.self)
            case .blocked: try read(Blocked.self)
            case .composition: try read(Composition.self)
            }
        self.name = name
        self.encoded = String(decoding: encoded, as: UTF8.self)
    }
}

/// A kind's JSON Schema as other languages read it.
func schema(_ kind: Kind) throws -> JSONValue {
    let path = Program.package.appending("mailbox/schema/\(kind.rawValue).schema.json")
    return try CompactJSON.decode(JSONValue.self, from: Files.read(path), at: path.string)
}
