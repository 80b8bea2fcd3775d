/// One HTTP/1.1 request.
struct HTTPRequest {
    var method: String
    var path: String
    /// Names in lower case, in the order in which they came.
    private(set) var headers: [(name: String, value: String)] = []
    private(set) var body: [UInt8] = []
    /// When its first byte came, in milliseconds since the server's start.
    var arrival: Double

    /// Well above what the API takes, so that its 413 can be told in order.
    static let maxBody = 64 << 20

    /// The request line and the headers.
    ///
    /// - Throws: `ClientGone`.
    init(headOf connection: Connection, arrival: Double) throws {
        self.arrival = arrival
        let lines = String(decoding: try connection.read(through: "\r\n\r\n"), as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3, words[2] == "HTTP/1.1" else { throw ClientGone() }
        method = String(words[0])
        path = Self.path(of: words[1])
        for line in lines.dropFirst() {
            let pair = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { throw ClientGone() }
            headers.append((pair[0].lowercased(), String(pair[1].drop { $0 == " " })))
        }
    }

    /// Of a target as it is sent to a server, or, whole, to a proxy.
    private static func path(of target: Substring) -> String {
        let local = target.hasPrefix("http://") ? target.dropFirst(7).drop { $0 != "/" } : target
        return String(local.prefix { $0 != "?" })
    }

    /// The first header of that name.
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Whether the connection is to be used again.
    var keepsAlive: Bool { header("connection")?.lowercased() != "close" }

    /// Receives the body, by length or in chunks, and asks for it where the client waits to be asked.
    mutating func readBody(from connection: Connection) throws {
        if header("expect")?.lowercased() == "100-continue" { try connection.write(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)) }
        if header("transfer-encoding")?.lowercased() == "chunked" {
            try readChunks(from: connection)
        } else if let length = header("content-length") {
            guard let count = Int(length), (0...Self.maxBody).contains(count) else { throw ClientGone() }
            body = try connection.read(count: count)
        }
    }

    private mutating func readChunks(from connection: Connection) throws {
        while true {
            let line = String(decoding: try connection.read(through: "\r\n"), as: UTF8.self)
            guard let count = Int(line.prefix { $0 != ";" }, radix: 16), count >= 0, body.count + count <= Self.maxBody else {
                throw ClientGone()
            }
            if count == 0 { break }
            body += try connection.read(count: count)
            _ = try connection.read(through: "\r\n")
        }
        // Trailers, up to the empty line.
        while try !connection.read(through: "\r\n").isEmpty {}
    }
}
