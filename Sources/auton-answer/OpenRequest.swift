import AutonKit
import AutonModel
import Glibc
import SystemPackage

/// A request that waits for its answer.
struct OpenRequest {
    let entry: Desk.Entry
    let bytes: [UInt8]
    let request: MessagesRequest

    var turn: Turn { entry.turn }

    /// More than the API takes.
    private static let limit = 32 << 20

    /// - Throws: `AutonError` with `.badInput` if the file is no request.
    init(_ entry: Desk.Entry) throws {
        // A pipe would block us and a link could lead anywhere.
        guard Files.type(of: entry.path) == S_IFREG else {
            throw AutonError(.badInput, "unreadable request: not a plain file", at: entry.path.string)
        }
        var status = stat()
        guard lstat(entry.path.string, &status) == 0, status.st_size <= Self.limit else {
            throw AutonError(.badInput, "unreadable request: over \(Self.limit) bytes", at: entry.path.string)
        }
        self.entry = entry
        bytes = try Files.read(entry.path)
        do {
            request = try CompactJSON.decode(MessagesRequest.self, from: bytes, at: entry.path.string)
        } catch let error as AutonError {
            throw AutonError(.badInput, "unreadable request: \(error.what)", at: error.location)
        }
    }

    /// Bytes of text that are new to the model.
    var newBytes: Int {
        request.news.flatMap(\.content).reduce(0) { sum, block in
            switch block {
            case .text(let text): sum + text.utf8.count
            case .toolResult(let result): sum + result.content.utf8.count
            case .toolUse, .other: sum
            }
        }
    }

    func tool(named name: String) throws -> Tool {
        if let tool = request.tools.first(where: { $0.name == name }) { return tool }
        let names = request.tools.map(\.name).joined(separator: ", ")
        throw AutonError(.badInput, "no such tool (the tools are \(names.isEmpty ? "none" : names))", at: name)
    }

    /// Tells this request from an other one of the same turn, after a run began anew (64-bit FNV-1a).
    var fingerprint: String {
        String(bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
    }
}
