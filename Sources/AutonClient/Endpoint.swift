import AutonKit
import AutonSettings
import CCurl
import Glibc

/// Where requests go: a base URL that was looked at before anything is sent there.
struct Endpoint: Equatable {
    let url: String
    /// On this machine: no proxy is asked, and plain http is no danger.
    let isLoopback: Bool

    /// - Throws: `AutonError` with `.badConfiguration`.
    init(_ base: String, allowsPlainHTTP: Bool) throws {
        let parts = curl_url()
        defer { curl_url_cleanup(parts) }
        func refuse(_ why: String) -> AutonError {
            AutonError(.badConfiguration, "the base URL \(why)", at: base.withoutUser)
        }

        let code = curl_url_set(parts, CURLUPART_URL, base, UInt32(CURLU_DISALLOW_USER))
        guard code == CURLUE_OK else { throw refuse(Self.fault(code)) }
        func part(_ which: CURLUPart) -> String? {
            var text: UnsafeMutablePointer<CChar>?
            guard auton_curl_get_part(parts, which, &text) == CURLUE_OK, let text else { return nil }
            defer { curl_free(text) }
            return String(cString: text)
        }

        let scheme = part(CURLUPART_SCHEME) ?? ""
        guard scheme == "https" || scheme == "http" else { throw refuse("must begin with https:// or http://") }
        if part(CURLUPART_QUERY) != nil || part(CURLUPART_FRAGMENT) != nil { throw refuse("must end with its path") }
        isLoopback = Self.isLoopback(part(CURLUPART_HOST) ?? "")
        if scheme == "http" && !isLoopback && !allowsPlainHTTP {
            throw refuse("is plain http to another machine, where anyone on the way reads the key; use https, or allow it")
        }
        let path = Self.prefix(of: part(CURLUPART_PATH) ?? "")
        guard curl_url_set(parts, CURLUPART_PATH, path + "/v1/messages", 0) == CURLUE_OK, let url = part(CURLUPART_URL) else {
            throw refuse("is malformed")
        }
        self.url = url
    }

    private static func fault(_ code: CURLUcode) -> String {
        switch code {
        case CURLUE_BAD_SCHEME, CURLUE_UNSUPPORTED_SCHEME: "must begin with https:// or http://"
        case CURLUE_USER_NOT_ALLOWED: "must hold no user and no password; the key has a place of its own"
        default: "is malformed: \(String(cString: curl_url_strerror(code)))"
        }
    }

    /// The path without what we add ourselves, and what people paste.
    private static func prefix(of path: String) -> String {
        var rest = path[...]
        func trimSlashes() { while rest.hasSuffix("/") { rest.removeLast() } }
        trimSlashes()
        for end in ["/messages", "/v1"] where rest.hasSuffix(end) && (end == "/v1" || rest.hasSuffix("/v1/messages")) {
            rest.removeLast(end.count)
            trimSlashes()
        }
        return String(rest)
    }

    private static func isLoopback(_ host: String) -> Bool {
        if host.lowercased() == "localhost" { return true }
        var four = in_addr()
        if inet_pton(AF_INET, host, &four) == 1 { return UInt32(bigEndian: four.s_addr) >> 24 == 127 }
        var six = in6_addr()
        guard host.first == "[", host.last == "]", inet_pton(AF_INET6, String(host.dropFirst().dropLast()), &six) == 1 else {
            return false
        }
        return withUnsafeBytes(of: six) { $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
    }
}
