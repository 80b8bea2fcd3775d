import AutonKit
import Synchronization
import SystemPackage

/// What the server is to do, by the command line.
struct ServerOptions: Sendable {
    var key: String?
    var script = Script()
    var recordings: Recordings?
    var noopTurns: Int?
    var isSubset = false
    var cacheMinimum = 0
    var rate: RateLimit?
    var prices: Prices?
    var log: FilePath?
    var bodies: FilePath?
}

/// Answers requests, those of several connections at once.
final class Server: Sendable {
    let options: ServerOptions
    let clock = Clock()
    let handedOut = HandedOut()
    let cache: Mutex<PromptCache>
    private let log: RequestLog?
    private let rate: Mutex<RateLimit?>
    private let total = Mutex(0.0)
    private let requests = Atomic(0)

    /// - Throws: `AutonError` if the log cannot be opened.
    init(_ options: ServerOptions) throws {
        self.options = options
        cache = Mutex(PromptCache(minimum: options.cacheMinimum))
        rate = Mutex(options.rate)
        log = try options.log.map { try RequestLog($0, key: options.key) }
    }

    /// Answers what comes on a connection, until either side closes it.
    func serve(_ connection: Connection) {
        while let arrival = connection.nextArrival() {
            guard let request = try? HTTPRequest(headOf: connection, arrival: arrival) else { return }
            let sequence = requests.add(1, ordering: .relaxed).newValue
            var entry = LogEntry(sequence: sequence, connection: connection.number, arrived: arrival, request: request)
            guard exchange(&entry, on: connection) else { return }
        }
    }

    /// - Returns: whether another request may follow.
    private func exchange(_ entry: inout LogEntry, on connection: Connection) -> Bool {
        do {
            try entry.request.readBody(from: connection)
            try keepBody(of: entry)
            let reply = try reply(to: &entry, on: connection)
            let isUsable = reply.send(to: connection, keepAlive: entry.request.keepsAlive) { close(&entry, $0) }
            return isUsable && entry.request.keepsAlive
        } catch {
            close(&entry, "gone")
            return false
        }
    }

    private func close(_ entry: inout LogEntry, _ ending: String) {
        entry.ended = clock.now
        entry.ending = ending
        guard let log else { return }
        // Under the lock, so that no line tells less than the one before it.
        total.withLock { total in
            if options.prices != nil { entry.total = total }
            log.write(entry)
        }
    }

    private func keepBody(of entry: LogEntry) throws {
        guard let bodies = options.bodies else { return }
        try Files.write(bodies.appending("\(entry.sequence).json"), entry.request.body, sync: false)
    }

    /// - Throws: `ClientGone`.
    private func reply(to entry: inout LogEntry, on connection: Connection) throws -> Reply {
        var headers = [("request-id", Self.requestID(entry.sequence))]
        do {
            try admit(entry.request)
            let (limits, wait) = rate.withLock { $0?.take(now: clock.now) ?? ([], nil) }
            headers += limits
            if let wait {
                throw APIError(
                    429, "This request would exceed the rate limit of requests.",
                    headers: [("retry-after", String(Int(wait.rounded(.up))))])
            }
            let call = try Call(accepted: entry.request, by: self)
            entry.turn = call.turn
            entry.conversation =
                options.recordings?.name(of: call.firstMessage) ?? ConversationName.of(firstMessage: call.firstMessage)
            var reply = try Answering(server: self, call: call, sequence: entry.sequence).reply(&entry, on: connection)
            reply.headers += headers
            entry.status = reply.fault == .refuse ? nil : reply.status
            return reply
        } catch let error as APIError {
            entry.status = error.status
            entry.error = error.message
            headers += [("content-type", "application/json")] + error.headers
            let body = error.body(requestID: Self.requestID(entry.sequence)).bytes
            return Reply(status: error.status, headers: headers, body: .whole(body))
        }
    }

    /// Adds what a request costs to the bill.
    func bill(_ usage: Usage) {
        guard let prices = options.prices else { return }
        total.withLock { $0 += prices.cost(of: usage) }
    }

    private func admit(_ request: HTTPRequest) throws {
        let counts = request.path == "/v1/messages/count_tokens" && !options.isSubset
        guard request.path == "/v1/messages" || counts else { throw APIError(404, "Not found") }
        guard request.method == "POST" else { throw APIError(405, "Method not allowed") }
        if let key = options.key, !request.carries(key: key) { throw APIError(401, "invalid x-api-key") }
        guard request.body.count <= 32 << 20 else { throw APIError(413, "Request exceeds the maximum size") }
    }

    private static func requestID(_ sequence: Int) -> String { "req_fake_\(sequence)" }
}

extension Call {
    /// - Throws: `APIError` if the API would refuse it.
    fileprivate init(accepted request: HTTPRequest, by server: Server) throws {
        do {
            self.init(try JSON(parsing: request.body))
        } catch let error as AutonError {
            throw APIError.invalid("The request body is \(error)")
        }
        let rules = RequestRules(
            isSubset: server.options.isSubset, version: request.header("anthropic-version"),
            isAnswered: request.path == "/v1/messages")
        try rules.check(self, server.handedOut)
    }
}
