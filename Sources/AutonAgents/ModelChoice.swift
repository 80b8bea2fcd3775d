import AutonClient
import AutonCommand
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

/// Who answers, what it is told of its role, and how much it may say.
package struct ModelChoice: Sendable {
    /// By what a model can be named.
    package static let ways = "ANTHROPIC_API_KEY, --model exec:COMMAND, file:DIR or http://127.0.0.1:PORT"

    package let settings: Settings
    private let strict: Bool
    private let prices: PriceTable

    /// - Parameter strict: drift from a recording is an error.
    /// - Throws: `AutonError` with `.badConfiguration` if the prices are malformed.
    package init(_ settings: Settings, strict: Bool) throws {
        self.settings = settings
        self.strict = strict
        prices = try PriceTable(settings)
        let server = settings.model.uri ?? (environment("ANTHROPIC_API_KEY") == nil ? "" : settings.model.baseURL)
        if Self.isServer(server) { HTTPTransport.warmUp() }
    }

    private static func isServer(_ uri: String) -> Bool { uri.hasPrefix("https:") || uri.hasPrefix("http:") }

    /// The transport for one role, metered by the ledger of `mailbox` unless it only replays what was paid for already.
    ///
    /// The model is the one that is named; else the server, if there is a key for it or it wants none; else the recording.
    package func openTransport(_ role: TeamRole, _ mailbox: Mailbox) throws -> any Transport {
        let key = try APIKey.find(settings)
        let isLive = key != nil || settings.model.auth == .none
        let uri = settings.model.uri ?? (isLive ? settings.model.baseURL : "replay:01-minimal-boot")
        if Self.isServer(uri) {
            if !isLive { throw Self.noKey(uri) }
            let meter = BudgetMeter(ledger(mailbox), needsPrice: true)
            var model = settings.model(of: role)
            model.baseURL = uri
            let transport = try HTTPTransport(
                model, key: key, meter: meter,
                backoff: SharedBackoff(file: mailbox.root.appending("backoff.json"))
            ) { complain($0) }
            return MeteredTransport(transport, meter, reserving: .there)
        }
        let transport = try Transports.open(uri, runs: FilePath(settings.paths.runs), strict: strict) { complain($0) }
        if transport is ReplayTransport { return transport }
        return MeteredTransport(
            transport, BudgetMeter(ledger(mailbox), needsPrice: false),
            reserving: transport is FileTransport ? .hereOnce : .here)
    }

    /// How many tokens the role's model takes; nil if that is not known.
    package func window(_ role: TeamRole) -> Int? {
        settings.model.window ?? prices.find(settings.model(of: role).name)?.window
    }

    package func openPrompts() -> Prompts { Prompts(FilePath(settings.paths.prompts)) }

    package var maxTokens: Int { settings.model.maxTokens }

    private func ledger(_ mailbox: Mailbox) -> Ledger {
        Ledger(
            mailbox.root, caps: Caps(settings.budget, deadline: environment("AUTON_BUDGET_DEADLINE")), prices: prices
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
