import AutonClient
import AutonCommand
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

/// Who answers, what it is told of its role, and how much it may say.
package struct ModelChoice: Sendable {
    package var settings: Settings
    /// Drift from a recording is an error.
    package var strict: Bool

    /// The transport for one role, metered by the ledger of `mailbox` unless it only replays what was paid for already.
    ///
    /// The model is the one that is named; else the server, if there is a key for it or it wants none; else the recording.
    package func openTransport(_ role: TeamRole, _ mailbox: Mailbox) throws -> any Transport {
        let key = try APIKey.find(settings)
        let isLive = key != nil || settings.model.auth == .none
        let uri = settings.model.uri ?? (isLive ? settings.model.baseURL : "replay:01-minimal-boot")
        if uri.hasPrefix("https:") || uri.hasPrefix("http:") {
            if !isLive { throw Self.noKey(uri) }
            let meter = BudgetMeter(try ledger(mailbox), needsPrice: true)
            let transport = try HTTPTransport(
                HTTPSettings(settings, role, uri: uri, key: key), meter: meter,
                backoff: SharedBackoff(file: mailbox.root.appending("backoff.json"))
            ) { complain($0) }
            return MeteredTransport(transport, meter, reserving: .there)
        }
        let transport = try Transports.open(uri, runs: FilePath(settings.paths.runs), strict: strict) { complain($0) }
        if transport is ReplayTransport { return transport }
        return MeteredTransport(
            transport, BudgetMeter(try ledger(mailbox), needsPrice: false),
            reserving: transport is FileTransport ? .hereOnce : .here)
    }

    /// How many tokens the role's model takes; nil if that is not known.
    package func window(_ role: TeamRole) throws -> Int? {
        try settings.model.window ?? PriceTable(settings).find(settings.modelName(of: role))?.window
    }

    package func openPrompts() -> Prompts { Prompts(FilePath(settings.paths.prompts)) }

    package var maxTokens: Int { settings.model.maxTokens }

    private func ledger(_ mailbox: Mailbox) throws -> Ledger {
        Ledger(
            mailbox.root, caps: Caps(settings.budget, deadline: environment("AUTON_BUDGET_DEADLINE")),
            prices: try PriceTable(settings)
        ) { complain($0) }
    }

    private static func noKey(_ uri: String) -> AutonError {
        AutonError(
            .badConfiguration,
            "no API key: set ANTHROPIC_API_KEY or model.key_file, or model.auth = \"none\" for a server that wants none", at: uri)
    }
}

extension TeamRole {
    package init(_ role: Role) {
        self =
            switch role {
            case .architect: .architect
            case .developer: .developer
            case .tester: .tester
            }
    }
}

extension HTTPSettings {
    /// What is configured for a role's model.
    fileprivate init(_ settings: Settings, _ role: TeamRole, uri: String, key: APIKey?) {
        let model = settings.model
        self.init(model: settings.modelName(of: role))
        baseURL = uri
        authentication = Authentication(rawValue: model.auth.rawValue) ?? .none
        self.key = key?.secret
        version = model.version
        headers = model.headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        stream = model.stream
        caching = model.caching
        thinking = model.thinking.flatMap { Thinking(rawValue: $0.rawValue) }
        effort = settings.effort(of: role)?.rawValue
        strictTools = model.strictTools
        connectSeconds = model.connectSeconds
        idleSeconds = model.idleSeconds
        requestSeconds = model.requestSeconds
        retries = model.retries
        retryAfterCap = model.retryAfterMax
        allowsPlainHTTP = model.allowPlainHTTP
        authorities = model.caFile
    }
}
