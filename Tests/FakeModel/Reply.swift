/// What goes back on the wire for one request.
struct Reply {
    enum Body {
        /// Sent with its length.
        case whole([UInt8])
        /// Sent in chunks as it comes, one event after the other.
        case events([[UInt8]])
    }

    var status: Int
    var headers: [(name: String, value: String)]
    var body: Body
    var fault: Step.Fault?
    /// Events before the fault, or bytes of a whole body; half of them if nil.
    var after: Int?
    /// Bytes of body a chunk and a write.
    var chunk: Int?
    /// Milliseconds between events.
    var pace = 0
    /// The event of the fault `error-event`.
    var errorEvent: [UInt8] = []

    /// Sends it, fault and all.
    ///
    /// - Parameter closing: called when all but the last bytes are out, or have failed to get there, with how it ended:
    ///   what it says is on record before the client can know that the reply is over.
    /// - Returns: whether the connection can be used again.
    func send(to connection: Connection, keepAlive: Bool, closing: (_ ending: String) -> Void) -> Bool {
        do {
            if fault == .refuse {
                closing("refuse")
                connection.close()
                return false
            }
            let pieces = self.pieces
            let framing = Framing(chunked: isChunked)
            var pending = framing.head(status: status, headers: headers, length: contentLength, keepAlive: keepAlive)
            for (index, piece) in pieces.enumerated() {
                if pace > 0 && index > 0 { try connection.pause(milliseconds: pace) }
                pending += framing.frame(piece)
                let isLast = index == pieces.count - 1
                if chunk != nil || pace > 0 || pending.count >= 16384, !(isLast && fault == nil) {
                    try connection.write(pending)
                    pending = []
                }
            }
            return try end(connection, pending: pending, framing: framing, keepAlive: keepAlive, closing: closing)
        } catch {
            closing("gone")
            return false
        }
    }

    /// Sends what is left, and does what ends the reply.
    private func end(
        _ connection: Connection, pending: [UInt8], framing: Framing, keepAlive: Bool, closing: (String) -> Void
    ) throws -> Bool {
        switch fault {
        case nil, .errorEvent, .end:
            let rest = pending + framing.end
            // What does not fit into the socket waits for the client: not to be counted as sent before it is.
            if rest.count > 16384 { try connection.write(rest.dropLast()) }
            closing(fault?.rawValue ?? "answered")
            try? connection.write(rest.count > 16384 ? rest.suffix(1) : rest[...])
            return keepAlive
        case .reset:
            try connection.write(pending)
            closing("reset")
            connection.reset()
        case .cut:
            try connection.write(pending)
            closing("cut")
            connection.close()
        case .stall:
            try connection.write(pending)
            try? connection.pause()
            closing("stall")
        case .stallPings:
            try connection.write(pending)
            try? ping(connection, framing)
            closing("stall-pings")
        case .refuse: break
        }
        return false
    }

    /// Goes on until the client has had enough.
    private func ping(_ connection: Connection, _ framing: Framing) throws {
        while true {
            try connection.pause(milliseconds: 100)
            if case .events = body { try connection.write(framing.frame(EventStream.ping)) }
        }
    }

    private var isChunked: Bool {
        if case .events = body { true } else { chunk != nil }
    }

    /// Of a body that is sent whole: of all of it, also if a fault comes before its end.
    private var contentLength: Int? {
        guard case .whole(let bytes) = body, !isChunked else { return nil }
        return fault == .end ? sentLength(of: bytes) : bytes.count
    }

    private func sentLength(of bytes: [UInt8]) -> Int { min(after ?? bytes.count / 2, bytes.count) }

    /// The body up to the fault, in the pieces in which it is written.
    private var pieces: [[UInt8]] {
        var sent: [[UInt8]]
        switch body {
        case .whole(let bytes): sent = [fault == nil ? bytes : Array(bytes.prefix(sentLength(of: bytes)))]
        case .events(let events):
            sent = fault == nil ? events : Array(events.prefix(after ?? events.count / 2))
            if fault == .errorEvent { sent.append(errorEvent) }
        }
        guard let chunk else { return sent }
        let bytes = sent.flatMap { $0 }
        return stride(from: 0, to: bytes.count, by: chunk).map { Array(bytes[$0..<min($0 + chunk, bytes.count)]) }
    }
}

/// How HTTP/1.1 says where a body ends.
private struct Framing {
    var chunked: Bool

    func head(status: Int, headers: [(name: String, value: String)], length: Int?, keepAlive: Bool) -> [UInt8] {
        var lines = ["HTTP/1.1 \(status) \(status < 400 ? "OK" : "Error")"]
        lines += headers.map { "\($0.name): \($0.value)" }
        lines.append(length.map { "content-length: \($0)" } ?? "transfer-encoding: chunked")
        if !keepAlive { lines.append("connection: close") }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    func frame(_ piece: [UInt8]) -> [UInt8] {
        // A chunk of no bytes would be the end.
        guard chunked, !piece.isEmpty else { return piece }
        return Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + Array("\r\n".utf8)
    }

    var end: [UInt8] { chunked ? Array("0\r\n\r\n".utf8) : [] }
}
