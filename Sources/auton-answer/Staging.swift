import AutonKit
import AutonModel
import Glibc
import SystemPackage

/// A reply while it is put together: `DESK/.staged/CONVERSATION.TURN/` with `text`, one `NNN.call.json` a call, and
/// in `request` the fingerprint of what it replies to.
struct Staging {
    let directory: FilePath

    /// What is staged for an open request. What was staged for another turn of its conversation, or for another
    /// request of this turn before the run began anew, answers nothing any more and goes.
    init(for open: OpenRequest, at desk: Desk) throws {
        let all = Self.directory(of: desk)
        directory = all.appending(open.turn.stem)
        for name in try Files.list(all) {
            guard let turn = Turn(named: name), turn.conversation == open.turn.conversation else { continue }
            let mark = all.appending(name).appending("request")
            if try turn != open.turn || Files.exists(mark) && Files.readText(mark) != open.fingerprint {
                try Files.removeTree(all.appending(name))
            }
        }
        if !Files.exists(directory) {
            try Files.createDirectories(directory)
            try Files.replace(directory.appending("request"), Array(open.fingerprint.utf8))
        }
    }

    private static func directory(of desk: Desk) -> FilePath { desk.directory.appending(".staged") }

    /// Where something is staged for a conversation, whatever became of its requests.
    static func remains(of conversation: String, at desk: Desk) throws -> FilePath? {
        try Files.list(directory(of: desk)).filter { Turn(named: $0)?.conversation == conversation }
            .map { directory(of: desk).appending($0) }
            .first { try Files.list($0).contains { $0 != "request" } }
    }

    func text() throws -> String? {
        let path = directory.appending("text")
        return Files.exists(path) ? try Files.readText(path) : nil
    }

    func setText(_ text: String?) throws {
        let path = directory.appending("text")
        if let text { try Files.replace(path, Array(text.utf8)) } else { try Files.removeTree(path) }
    }

    private static let suffix = ".call.json"

    private func callFiles() throws -> [FilePath] {
        try Files.list(directory).filter { $0.hasSuffix(Self.suffix) }.map { directory.appending($0) }
    }

    func calls() throws -> [Call] {
        try callFiles().map { try CompactJSON.decode(Call.self, from: try Files.read($0), at: $0.string) }
    }

    /// Adds a call after all others, also when several are added at once.
    func add(_ call: Call) throws {
        let bytes = try CompactJSON.encode(call)
        let last = try callFiles().last?.lastComponent?.string
        var number = (last.flatMap { Int($0.dropLast(Self.suffix.count)) } ?? 0) + 1
        while try !Files.createDurably(file(number), bytes, temporary: temporary) { number += 1 }
    }

    private func file(_ number: Int) -> FilePath {
        let digits = String(number)
        return directory.appending(String(repeating: "0", count: max(0, 3 - digits.count)) + digits + Self.suffix)
    }

    /// Takes the call at `position` back, counted from 1; those after it move up.
    func drop(_ position: Int) throws {
        let files = try callFiles()
        guard files.indices.contains(position - 1) else {
            throw AutonError(.badInput, "\(files.count) calls are staged", at: "\(position)")
        }
        try Files.removeTree(files[position - 1])
    }

    func removeAll() throws { try Files.removeTree(directory) }

    /// A name on the desk's file system for what is renamed to where it is wanted.
    var temporary: FilePath { directory.appending(".\(getpid()).tmp") }
}
