import AutonKit

extension Settings {
    /// Who answers, and how it is asked.
    package struct Model: Sendable {
        package var uri: String?
        package var name = "claude-sonnet-5-5"
        package var effort: Effort?
        package var thinking: Thinking?
        package var maxTokens = 32_000
        package var window: Int?
        package var baseURL = "https://api.anthropic.com"
        package var auth = Auth.bearer
        package var version = "2026-10-21"
        package var headers: [String: String] = [:]
        package var keyFile: String?
        package var stream = true
        package var caching = true
        package var strictTools = false
        package var connectSeconds = 10.0
        package var idleSeconds = 120.0
        package var requestSeconds = 600.0
        package var retries = 10
        package var retryAfterMax = 120.0
        package var allowPlainHTTP = false
        package var caFile: String?

        package init() {}
    }

    /// `output_config.effort` of a request.
    package enum Effort: String, CaseIterable, SettingType { case low, medium, high, max }

    /// `thinking.type` of a request.
    package enum Thinking: String, CaseIterable, SettingType { case adaptive, disabled }

    /// How a request carries the key.
    package enum Auth: String, CaseIterable, SettingType {
        /// `Authorization: Bearer KEY`
        case bearer
        /// `x-api-key: KEY`
        case apiKey = "x-api-key"
        /// Not at all.
        case none
    }
}

extension Setting {
    static let model: [Setting] = [
        Setting(
            "model.uri", \.model.uri,
            "Who answers: replay:RUN, exec:COMMAND, file:DIR, https://SERVER or http://127.0.0.1:PORT; replay:01-minimal-boot if left out.",
            .answerer,
            variable: "AUTON_MODEL", example: "file:desk"),
        Setting("model.name", \.model.name, "The model to ask for."),
        Setting("model.effort", \.model.effort, "How hard it tries; as it likes if left out.", example: .high),
        Setting(
            "model.thinking", \.model.thinking, "Whether it thinks before it replies; as it likes if left out.",
            example: .adaptive),
        Setting("model.max_tokens", \.model.maxTokens, "Tokens of one reply at most."),
        Setting(
            "model.window", \.model.window, "Tokens of a conversation at most; what is known of the model if left out.",
            .from(1_000, to: 1_000_000_000), example: 200_000),
        Setting(
            "model.base_url", \.model.baseURL, "Where the API is, without the /v1.", .webAddress, variable: "ANTHROPIC_BASE_URL"),
        Setting("model.auth", \.model.auth, "How the key is sent."),
        Setting("model.version", \.model.version, "What the header anthropic-version says."),
        Setting("model.headers", \.model.headers, "More headers for every request; auton config prints them."),
        Setting(
            "model.key_file", \.model.keyFile,
            "Where the key is if not in $ANTHROPIC_API_KEY or $ANTHROPIC_AUTH_TOKEN: a file that only its owner can read.",
            example: "anthropic.key"),
        Setting("model.stream", \.model.stream, "Whether replies come piece by piece, as they are made."),
        Setting("model.caching", \.model.caching, "Whether requests say what the server is to keep for the next one."),
        Setting(
            "model.strict_tools", \.model.strictTools,
            "Whether the server is to hold tool calls to their schemas; not every one can."),
        Setting("model.connect_seconds", \.model.connectSeconds, "Seconds until a connection counts as refused.", .seconds),
        Setting(
            "model.idle_seconds", \.model.idleSeconds,
            "Seconds without an event until a reply counts as cut off; pings do not count.", .seconds),
        Setting("model.request_seconds", \.model.requestSeconds, "Seconds for a reply that comes whole.", .seconds),
        Setting("model.retries", \.model.retries, "How often a failed request is made again.", .from(0, to: 100)),
        Setting(
            "model.retry_after_max", \.model.retryAfterMax, "Seconds that a server may have us wait before that, at most.",
            .from0(upTo: 86_400)),
        Setting("model.allow_plain_http", \.model.allowPlainHTTP, "Whether http:// may lead to another machine."),
        Setting(
            "model.ca_file", \.model.caFile,
            "The authorities that the server's certificate may come from, in PEM; the system's if left out.", example: "ca.pem"),
    ]
}

extension Allowed where Value == String {
    /// A command may be several lines of a shell's.
    fileprivate static var answerer: Self {
        Allowed(inWords: "text, and a URL only whole and \(noUser)") { text in
            let scheme = text.prefix { $0 != ":" }.lowercased()
            return scheme == "http" || scheme == "https" ? webAddress.contains(text) : !text.isEmpty
        }
    }

    private static var noUser: String {
        "without user or password (a key belongs in $ANTHROPIC_API_KEY or the file of model.key_file)"
    }

    fileprivate static var webAddress: Self {
        Allowed(inWords: "a URL that begins with http:// or https://, \(noUser)") { text in
            let rest = ["https://", "http://"].first { text.hasPrefix($0) }.map { text.dropFirst($0.count) } ?? ""
            return !rest.isEmpty && rest.first != "/" && !rest.prefix { $0 != "/" }.contains("@")
                && text.utf8.allSatisfy { $0 > 32 && $0 < 127 }
        }
    }
}

/// Names and values of headers.
extension Dictionary<String, String>: SettingType {
    package static var form: SettingForm { .table }

    /// The key has a place of its own, where nobody prints it.
    package static var usual: Allowed<Self> {
        Allowed(inWords: "a table of headers: names, text of one line, and neither authorization nor x-api-key") { headers in
            headers.allSatisfy { name, value in
                !name.isEmpty && name.utf8.allSatisfy(\.isOfHeaderName)
                    && value.utf8.allSatisfy { $0 >= 32 && $0 != 127 || $0 == 9 }
                    && !["authorization", "x-api-key"].contains(name.lowercased())
            }
        }
    }

    package init?(_ value: SettingValue) {
        guard case .strings(let table) = value else { return nil }
        self = table
    }

    package var settingValue: SettingValue { .strings(self) }
}
