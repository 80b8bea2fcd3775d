import AutonKit
import AutonModel

/// Whether a request that failed is sent again, and when: what the official SDKs do, bounded.
struct RetryPolicy {
    enum Decision {
        case again(after: Double)
        /// By an `AutonError`, or by `ContextWindowExceeded`.
        case end(any Error)
    }

    /// How often a request is sent again.
    var retries: Int
    /// Seconds that a server may ask us to wait.
    var cap: Double
    /// Named in errors.
    var url: String
    var model: String

    /// - Parameters:
    ///   - made: retries that there were already.
    ///   - jitter: 0 to 1, drawn anew for each.
    func decide(_ failure: Failure, made: Int, jitter: Double) -> Decision {
        if let end = ending(failure) { return .end(end) }
        if made >= retries {
            let tries = made == 0 ? "" : " after \(made + 1) tries"
            return .end(AutonError(.tryAgain, "no answer\(tries): \(failure.message)", at: url))
        }
        // 2ⁿ with n out of hand would overflow nothing, but there is no need to find out.
        let backoff = min(0.5 * Double(1 << min(made, 10)), 8) * (1 - 0.25 * jitter)
        return .again(after: failure.retryAfter.map { min($0, cap) } ?? backoff)
    }

    /// The error that it comes to at once; nil if trying again may help.
    private func ending(_ failure: Failure) -> (any Error)? {
        func stop(_ status: ExitStatus, _ what: String) -> AutonError {
            AutonError(status, "\(what) (\(failure.message))", at: url)
        }
        let status: Int
        switch failure.kind {
        case .refused(let code, _): status = code
        case .hopeless: return AutonError(.unavailable, failure.message, at: url)
        case .misconfigured: return AutonError(.badConfiguration, failure.message, at: url)
        case .unreachable, .interrupted: return nil
        }
        if failure.isSpendLimit(cap: cap) { return stop(.budget, "the account's spend limit is reached, or its credit used up") }
        if failure.isTooLong { return ContextWindowExceeded(failure.message) }
        if failure.shouldRetry == true { return nil }
        switch status {
        case 408, 409, 429, 500...:
            return failure.shouldRetry == false ? stop(.tryAgain, "the server asks not to be tried again") : nil
        case 401: return stop(.badConfiguration, "the server does not take the key")
        case 403: return stop(.badConfiguration, "the key does not allow this")
        case 404: return stop(.badConfiguration, "the server has no model \(model), or the base URL is wrong")
        case 300..<400: return stop(.badConfiguration, "the base URL is wrong: the server is elsewhere")
        default: return stop(.badConfiguration, "the server refuses the request")
        }
    }
}

extension Failure {
    /// No waiting helps: the API tells it from an ordinary 429 by words alone, and by asking for no retry, or not before
    /// longer than `cap` seconds.
    fileprivate func isSpendLimit(cap: Double) -> Bool {
        guard case .refused(let status, let type) = kind else { return false }
        let text = message.lowercased()
        if status == 402 || type == "billing_error" || text.contains("credit balance") { return true }
        return status == 429 && (retryAfter ?? .infinity) > cap
            && ["spend", "usage limit", "credit"].contains { text.contains($0) }
    }

    /// Servers agree on no type for a prompt that is longer than the model's window.
    fileprivate var isTooLong: Bool {
        guard case .refused(let status, _) = kind else { return false }
        let text = message.lowercased()
        let says =
            text.contains("prompt is too long")
            || text.contains("context")
                && ["exceed", "length", "window", "limit", "too long"]
                    .contains { text.contains($0) }
        return status == 413 || status == 400 && says
    }

    /// Whether it is the server's state, of which other processes should know.
    var concernsAll: Bool {
        if case .refused(let status, _) = kind { [429, 503, 529].contains(status) } else { false }
    }
}
