import AutonKit
import Synchronization
import SystemPackage

/// What is written down of one request.
struct LogEntry {
    var sequence: Int
    var connection: Int
    var arrived: Double
    var ended = 0.0
    var request: HTTPRequest
    var conversation: String?
    var turn: Int?
    var step: Int?
    var status: Int?
    /// What was wrong, as the client was told.
    var error: String?
    var usage: Usage?
    var isBilled: Bool { usage != nil }
    /// `answered`, a fault, or `gone` if the client hung up.
    var ending = ""
    /// USD billed so far, for all requests.
    var total: Double?
}

/// The file of `--log`: one JSON object a line for every request.
final class RequestLog: Sendable {
    private let file: FileDescriptor
    private let key: String?

    /// - Parameter key: what the key is compared with; it is not written.
    init(_ path: FilePath, key: String?) throws {
        self.key = key
        file = try Files.failing("cannot open", at: path) {
            try FileDescriptor.open(
                path, .writeOnly, options: [.create, .append, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
        }
    }

    func write(_ entry: LogEntry) {
        let request = entry.request
        let headers = request.headers.map { JSON.Member(name: $0.name, value: .string(shown($0, of: request))) }
        var line: JSON = [
            "sequence": .integer(entry.sequence), "connection": .integer(entry.connection), "arrived_ms": .decimal(entry.arrived),
            "ended_ms": .decimal(entry.ended), "method": .string(request.method), "path": .string(request.path),
            "headers": .object(headers), "body_bytes": .integer(request.body.count),
            "body_digest": .string(Self.digest(request.body)),
            "ended": .string(entry.ending), "billed": .bool(entry.isBilled),
        ]
        if let conversation = entry.conversation { line = line.with("conversation", .string(conversation)) }
        if let turn = entry.turn { line = line.with("turn", .integer(turn)) }
        if let step = entry.step { line = line.with("step", .integer(step)) }
        if let status = entry.status { line = line.with("status", .integer(status)) }
        if let error = entry.error { line = line.with("error", .string(error)) }
        if let usage = entry.usage { line = line.with("usage", usage.json(plainly: false)) }
        if let total = entry.total { line = line.with("total_usd", .decimal(total)) }
        // One write, appended: lines of several threads do not mix.
        _ = try? file.writeAll(line.bytes + [UInt8(ascii: "\n")])
    }

    private func shown(_ header: (name: String, value: String), of request: HTTPRequest) -> String {
        guard header.name == "x-api-key" || header.name == "authorization" else { return header.value }
        return key.map { request.carries(key: $0) ? "right" : "wrong" } ?? "given"
    }

    /// FNV-1a, 64 bits, in hexadecimal.
    private static func digest(_ bytes: [UInt8]) -> String {
        let hash = bytes.withUnsafeBufferPointer {
            $0.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }
        let text = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}

extension JSON {
    /// To nine places: what is beyond them is noise of the arithmetic.
    fileprivate static func decimal(_ value: Double) -> JSON { .number(((value * 1e9).rounded() / 1e9).description) }
}

extension HTTPRequest {
    /// Whether it has the key, in either of the two headers; `x-api-key` counts if there are both.
    func carries(key: String) -> Bool {
        if let given = header("x-api-key") { return given == key }
        return header("authorization") == "Bearer \(key)"
    }
}
