import CCurl
import FoundationEssentials
import Glibc

/// Status and headers of a response, as they come line by line.
struct ResponseHead {
    /// 0 until there is one.
    private(set) var status = 0
    /// By lower-case name.
    private var fields: [String: String] = [:]
    /// Asked for every piece of the body, so found out once.
    private(set) var isEventStream = false

    subscript(name: String) -> String? { fields[name] }

    var isJSON: Bool { fields["content-type"]?.lowercased().contains("json") ?? false }

    mutating func take(_ line: String) {
        if line.hasPrefix("HTTP/") {
            // After 100 Continue comes the real one.
            self = ResponseHead()
            status = line.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix(3)) } ?? 0
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0.isWhitespace }
            let name = line[..<colon].lowercased()
            fields[name] = String(value.reversed().drop { $0.isWhitespace }.reversed())
            if name == "content-type" { isEventStream = value.lowercased().contains("text/event-stream") }
        }
    }

    /// Seconds that the server asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. Nil for none at
    /// all: that is no time to wait.
    var retryAfter: Double? {
        let milliseconds = fields["retry-after-ms"].flatMap { Double($0) }.map { $0 / 1000 }
        let seconds = milliseconds ?? fields["retry-after"].flatMap { Double($0) ?? Self.secondsUntil(httpDate: $0) }
        return seconds.flatMap { $0.isFinite && $0 > 0 ? $0 : nil }
    }

    private static func secondsUntil(httpDate text: String) -> Double? {
        let date = curl_getdate(text, nil)
        return date < 0 ? nil : max(0, Double(date - time(nil)))
    }

    /// Seconds until something is left again of a rate limit that is used up:
    /// `anthropic-ratelimit-KIND-remaining: 0`, `anthropic-ratelimit-KIND-reset: RFC 3339`. Nil if none is.
    var secondsUntilReset: Double? {
        let suffix = "-remaining"
        let resets = fields.compactMap { name, value -> Double? in
            guard name.hasPrefix("anthropic-ratelimit-"), name.hasSuffix(suffix), Double(value) == 0,
                let reset = fields[name.dropLast(suffix.count) + "-reset"], let date = try? Date(reset, strategy: .iso8601)
            else { return nil }
            return date.timeIntervalSince1970 - Date().timeIntervalSince1970
        }
        return resets.max().flatMap { $0 > 0 ? $0 : nil }
    }
}
