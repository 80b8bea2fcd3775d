import FoundationEssentials

/// So many requests in so many seconds, counted anew when the time is over.
struct RateLimit {
    let requests: Int
    let seconds: Double
    private var window = -Double.infinity
    private var taken = 0

    /// - Parameter text: `REQUESTS/SECONDS`.
    init?(_ text: String) {
        let parts = text.split(separator: "/")
        guard parts.count == 2, let requests = Int(parts[0]), let seconds = Double(parts[1]), requests > 0, seconds > 0 else {
            return nil
        }
        self.requests = requests
        self.seconds = seconds
    }

    /// Counts a request.
    ///
    /// - Parameter now: milliseconds.
    /// - Returns: the headers that tell the limit, and the seconds until the request may be made again, nil if it may now.
    mutating func take(now: Double) -> (headers: [(name: String, value: String)], wait: Double?) {
        if now - window >= seconds * 1000 { (window, taken) = (now, 0) }
        let left = seconds - (now - window) / 1000
        let isOver = taken >= requests
        if !isOver { taken += 1 }
        let headers = [
            ("anthropic-ratelimit-requests-limit", String(requests)),
            ("anthropic-ratelimit-requests-remaining", String(requests - taken)),
            ("anthropic-ratelimit-requests-reset", Date(timeIntervalSinceNow: left).formatted(.iso8601)),
        ]
        return (headers, isOver ? left : nil)
    }
}
