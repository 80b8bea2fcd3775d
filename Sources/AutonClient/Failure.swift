/// Why a request got no answer.
struct Failure: Error, Equatable {
    enum Kind: Equatable {
        /// The request did not get there whole.
        case unreachable
        /// It went out, and no whole answer came back.
        case interrupted
        /// The API says so, by HTTP status, or by an error in the place of an answer (then the status that goes with its
        /// type).
        case refused(status: Int, type: String?)
        /// Trying again cannot help: the server is not to be trusted, or speaks another protocol.
        case hopeless
        /// Nor can it here, but for a reason that is ours: the file of authorities is not there, or is none.
        case misconfigured
    }

    var kind: Kind
    /// In words, without the address.
    var message: String
    /// Whether the server may have begun to answer, which costs money.
    var mayBeBilled: Bool
    /// Seconds that the server asks us to wait.
    var retryAfter: Double?
    /// The header `x-should-retry`.
    var shouldRetry: Bool?

    init(_ kind: Kind, _ message: String, mayBeBilled: Bool = false) {
        self.kind = kind
        self.message = message
        self.mayBeBilled = mayBeBilled
    }

    /// An answer that breaks the protocol: garbled on its way, so it is asked for again.
    static func malformed(_ what: String) -> Failure {
        Failure(.interrupted, "malformed answer: \(what)", mayBeBilled: true)
    }

    /// An error that came in the place of an answer, after HTTP said 200.
    init(_ error: APIError) {
        self.init(.refused(status: error.status, type: error.type), error.description, mayBeBilled: true)
    }

    /// An HTTP error.
    init(refusal head: ResponseHead, body: [UInt8]) {
        let target = (300..<400).contains(head.status) ? head["location"].map { "redirect to \($0)" } : nil
        let error = APIError(body: body)
        self.init(.refused(status: head.status, type: error.type), "\(head.status) \(target ?? error.description)")
        retryAfter = head.retryAfter
        shouldRetry = head["x-should-retry"].flatMap { Bool($0.lowercased()) }
    }
}
