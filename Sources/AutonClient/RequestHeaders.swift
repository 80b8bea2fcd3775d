import AutonKit
import AutonSettings

/// The headers of every request.
enum RequestHeaders {
    /// As libcurl takes them: `Name: value`, and `Name:` for one that it is not to send.
    ///
    /// - Throws: `AutonError` with `.badConfiguration`; no error shows a value, which may be secret.
    static func lines(_ settings: Settings.Model, _ key: APIKey?) throws -> [String] {
        var headers = [("content-type", "application/json"), ("anthropic-version", settings.version)]
        if settings.auth != .none {
            guard let key else { throw AutonError(.badConfiguration, "there is no key", at: settings.baseURL) }
            headers.append(settings.auth == .bearer ? ("authorization", "Bearer \(key.secret)") : ("x-api-key", key.secret))
        }
        let lines = try (headers + settings.headers.sorted { $0.key < $1.key }).map { name, value in
            guard !name.isEmpty, name.utf8.allSatisfy(\.isOfHeaderName) else {
                throw AutonError(.badConfiguration, "no name of a header", at: name)
            }
            // A line break would begin another header.
            guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw AutonError(.badConfiguration, "a header cannot hold what is to be its value", at: name)
            }
            return value.isEmpty ? "\(name);" : "\(name): \(value)"
        }
        // libcurl would ask first before it sends a large body, and wait for the answer.
        return lines + ["expect:"]
    }
}
