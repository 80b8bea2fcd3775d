import AutonMessages
import FoundationEssentials
import Glibc
import SystemPackage

/// The directory of messages: state is which files exist in it.
///
/// Layout: `<kind>/<name>.json` for messages, `tmp/` for files being written, `dead/` for what was no message with
/// the reason beside it, `transcript/` for conversations, `log/` for the loop's progress. `mailbox/README.md` tells all.
package struct Mailbox: Sendable {
    package let root: FilePath
    /// Told of every file that is set aside.
    package var report: @Sendable (String) -> Void = { _ in }

    package init(_ root: FilePath) {
        self.root = Files.absolute(root)
    }

    /// Creates the directories that are missing.
    package func prepare() throws {
        for directory in Kind.allCases.map(\.rawValue) + ["tmp", "dead", "transcript", "log"] {
            try Files.createDirectories(root.appending(directory))
        }
    }

    package func path(_ kind: Kind, _ name: String) -> FilePath {
        root.appending(kind.rawValue).appending(name + ".json")
    }

    package func transcript(_ conversation: String) -> FilePath {
        root.appending("transcript").appending(conversation + ".jsonl")
    }

    package func has(_ kind: Kind, _ name: String) -> Bool {
        Files.exists(path(kind, name))
    }

    /// Files a message durably. Messages are immutable: to file the same one again changes nothing.
    ///
    /// - Throws: `AutonError` with `.bug` if another message lies under the name already.
    package func file<M: Message>(_ message: M) throws {
        let bytes = try Self.encode(message)
        let target = path(M.kind, message.name)
        if try !Files.createDurably(target, bytes, temporary: temporary(M.kind, message.name)),
            try Files.read(target) != bytes
        {
            throw AutonError(.bug, "another message is filed under this name", at: target.string)
        }
    }

    /// Files many messages, durable once this returns, with one flush of the file system for them all.
    /// Names that are taken already are left as they are.
    package func fileAll<M: Message>(_ messages: [M]) throws {
        let new = messages.filter { !has(M.kind, $0.name) }
        let files = new.map { (temporary: temporary(M.kind, $0.name), target: path(M.kind, $0.name)) }
        do {
            for (message, file) in zip(new, files) {
                try Files.write(file.temporary, try Self.encode(message), sync: false)
            }
        } catch {
            for file in files { try? Files.removeTree(file.temporary) }
            throw error
        }
        if files.isEmpty { return }
        try Files.syncFileSystem(of: root)
        for file in files where try !Files.renameNew(file.temporary, to: file.target) {
            try Files.removeTree(file.temporary)
        }
        try Files.syncDirectory(root.appending(M.kind.rawValue))
    }

    /// Replaces a file beside the messages.
    package func replace(_ name: String, _ bytes: [UInt8]) throws {
        try Files.replace(
            root.appending(name), bytes,
            temporary: root.appending("tmp/\(FilePath(name).lastComponent?.string ?? name).\(getpid())"))
    }

    /// The message of that name, or nil if there is none.
    ///
    /// - Throws: `AutonError` with `.badInput` if the file is no such message; it is in `dead/` then.
    package func find<M: Message>(_ type: M.Type, _ name: String) throws -> M? {
        guard has(M.kind, name) else { return nil }
        do {
            return try decode(type, name)
        } catch let error as AutonError {
            throw error
        } catch {
            setAside("\(M.kind.rawValue)/\(name).json", because: Self.explain(error))
            throw AutonError(.badInput, "not a message: \(Self.explain(error))", at: path(M.kind, name).string)
        }
    }

    package func get<M: Message>(_ type: M.Type, _ name: String) throws -> M {
        guard let message = try find(type, name) else {
            throw AutonError(.badInput, "no such \(M.kind.rawValue)", at: path(M.kind, name).string)
        }
        return message
    }

    /// All messages of a kind in the order of their names; what is none is set aside and the rest goes on.
    package func all<M: Message>(_ type: M.Type) throws -> [M] {
        try Files.children(root.appending(M.kind.rawValue)).compactMap { path in
            let file = path.lastComponent?.string ?? ""
            // A dropped goal is a text file until `auton-plan` takes it up.
            if M.kind == .goal && !file.hasSuffix(".json") { return nil }
            do {
                guard file.hasSuffix(".json") else { throw MessageError.misnamed(file, expected: "NAME.json") }
                return try decode(type, String(file.dropLast(5)))
            } catch let error as AutonError where error.status != .badInput {
                // It cannot be read now, which says nothing about what is in it.
                throw error
            } catch {
                setAside("\(M.kind.rawValue)/\(file)", at: path, because: Self.explain(error))
                return nil
            }
        }
    }

    /// What models were asked for.
    package struct Asked {
        package var plans: [Plan]
        package var candidates: [Candidate]
        package var reviews: [Review]
    }

    /// Sets aside whatever is no message, so that what is asked for by name alone is one.
    ///
    /// - Returns: some of what was read on the way.
    package func sweep() throws -> Asked {
        _ = try all(Goal.self)
        _ = try all(TaskMessage.self)
        _ = try all(Verdict.self)
        _ = try all(Merge.self)
        _ = try all(Blocked.self)
        _ = try all(Composition.self)
        return Asked(plans: try all(Plan.self), candidates: try all(Candidate.self), reviews: try all(Review.self))
    }

    /// The names of a kind's messages, unread.
    package func names(_ kind: Kind) throws -> [String] {
        try Files.list(root.appending(kind.rawValue)).compactMap { $0.hasSuffix(".json") ? String($0.dropLast(5)) : nil }
    }

    private func decode<M: Message>(_ type: M.Type, _ name: String) throws -> M {
        // A message is never read through a link, and a pipe would keep its reader for ever.
        guard Files.type(of: path(M.kind, name)) == S_IFREG else { throw MessageError.notAFile }
        let message = try Self.decode(type, from: try Files.read(path(M.kind, name)))
        guard message.name == name else { throw MessageError.misnamed(name, expected: message.name) }
        return message
    }

    /// Moves what nobody is to read again into `dead/`, with the reason beside it.
    ///
    /// - Parameters:
    ///   - file: relative, such as `goal/1.json`.
    ///   - quietly: an error that says so follows.
    package func setAside(_ file: String, at path: FilePath? = nil, because reason: String, quietly: Bool = false) {
        let source = path ?? root.appending(file)
        // Another reader may have done it.
        guard Files.exists(source) else { return }
        let name = file.replacing("/", with: "-")
        var target = root.appending("dead").appending(name)
        var copy = 1
        do {
            while try !Files.renameNew(source, to: target) {
                copy += 1
                target = root.appending("dead").appending("\(name).\(copy)")
            }
            try replace("dead/\(target.lastComponent?.string ?? name).reason", Array((reason + "\n").utf8))
            if !quietly { report("set aside: \(reason): \(target)") }
        } catch {
            report("it cannot be set aside: \(reason): \(source)")
        }
    }

    private func temporary(_ kind: Kind, _ name: String) -> FilePath {
        root.appending("tmp").appending("\(kind.rawValue)-\(name).\(getpid())")
    }
}

extension Mailbox {
    /// The bytes of a message's file: sorted keys, one key a line, a newline at the end.
    package static func encode<M: Message>(_ message: M) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return Array(try encoder.encode(Envelope(message))) + [UInt8(ascii: "\n")]
    }

    package static func decode<M: Message>(_ type: M.Type, from bytes: [UInt8]) throws -> M {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Envelope<M>.self, fromJSON: bytes).message
    }

    /// A decoding error as one line that names the field.
    package static func explain(_ error: any Error) -> String {
        func at(_ path: [any CodingKey]) -> String {
            path.isEmpty ? "" : " in " + path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
        }
        switch error {
        case DecodingError.keyNotFound(let key, let context):
            return "no \(key.stringValue)\(at(context.codingPath))"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context):
            return "\(context.debugDescription)\(at(context.codingPath))"
        default:
            return "\(error)"
        }
    }
}
