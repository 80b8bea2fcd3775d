import AutonKit

/// What can be configured: the defaults, over them `auton.toml`, over that the environment, over that the command line.
///
/// A section is a plain struct; beside it lies its part of the table that says what each field is called and may be.
package struct Settings: Sendable {
    package var model = Model()
    package var roles = Roles()
    package var team = Team()
    package var budget = Budget()
    package var gate = GateSettings()
    package var compose = ComposeSettings()
    package var sandbox = SandboxLimits()
    package var paths: Paths
    /// By the models' names.
    package var prices: [String: Price] = [:]
    private var sources: [String: Source] = [:]

    /// The defaults.
    ///
    /// - Parameter find: finds what comes with the programs.
    package init(find: (String) -> String = Share.find) { paths = Paths(find: find) }

    /// - Parameters:
    ///   - file: the file to read in place of `auton.toml`; nil for that of `$AUTON_CONFIG`, if any.
    ///   - flags: what the command line says; nil for what it does not.
    ///   - variables: the environment.
    ///   - names: what it has that could be ours.
    /// - Throws: `AutonError` with `.badConfiguration`, or `.usage` for a flag: `where: what must be what`.
    package static func load(
        file: String? = nil, flags: [SettingFlag?] = [], variables: (String) -> String? = environment,
        names: [String] = Variables.present
    ) throws -> Settings {
        try Variables.check(names)
        var settings = Settings()
        if let file = try SettingsFile.find(file ?? variables("AUTON_CONFIG")) {
            for entry in file.entries {
                try settings.take(entry, from: .file(file.name, line: entry.place.line, column: entry.place.column))
            }
        }
        for setting in Setting.all {
            guard let variable = setting.variable, let text = variables(variable) else { continue }
            try settings.take(setting, typed: text, from: .environment(variable))
        }
        for case let flag? in flags { try settings.take(flag.setting, typed: flag.text, from: .flag(flag.name)) }
        try settings.checkTogether()
        return settings
    }

    package func source(of setting: Setting) -> Source { sources[setting.key] ?? .standard }

    /// The table's settings, and those of the models that have prices.
    package var all: [Setting] { Setting.all + prices.keys.sorted().flatMap(Setting.prices) }
}

extension Settings {
    /// Where a value comes from.
    package enum Source: Sendable, Equatable, CustomStringConvertible {
        case standard
        case file(String, line: Int, column: Int)
        case environment(String)
        case flag(String)

        package var description: String {
            switch self {
            case .standard: "default"
            case .file(let name, let line, _): "\(name):\(line)"
            case .environment(let variable): "environment \(variable)"
            case .flag(let name): "flag \(name)"
            }
        }

        fileprivate func refuse(_ what: String) -> AutonError {
            switch self {
            case .standard: AutonError(.badConfiguration, "\(self): \(what)")
            case .file(let name, let line, let column):
                AutonError(.badConfiguration, "\(name):\(line):\(column): \(what)")
            case .environment(let variable): AutonError(.badConfiguration, "\(variable): \(what)")
            case .flag(let name): AutonError(.usage, "\(name): \(what)")
            }
        }
    }

    private mutating func take(_ entry: SettingsFile.Entry, from source: Source) throws {
        if let setting = Setting.find(entry.parts) { return try take(setting, entry.value, from: source) }
        if Setting.isTable(entry.parts) {
            if case .strings = entry.value { return }
            throw source.refuse("\(SettingValue.key(entry.parts)) must be a table, not \(entry.value.inWords)")
        }
        if let table = Setting.find(entry.parts.dropLast()), table.form == .table, let name = entry.parts.last {
            guard case .string(let text) = entry.value else {
                throw source.refuse("\(SettingValue.key(entry.parts)) must be text, not \(entry.value.inWords)")
            }
            return try take(table, .strings([name: text]), from: source)
        }
        throw source.refuse(Self.unknown(entry.parts))
    }

    private mutating func take(_ setting: Setting, typed text: String, from source: Source) throws {
        try take(setting, setting.form == .text ? .string(text) : SettingsFile.value(typed: text), from: source)
    }

    private mutating func take(_ setting: Setting, _ value: SettingValue, from source: Source) throws {
        var value = value
        // A table in the file may be told in several places.
        if case .strings(let new) = value, case .file = source, case .file = self.source(of: setting),
            case .strings(let old)? = setting.value(self)
        {
            value = .strings(old.merging(new) { $1 })
        }
        guard setting.store(&self, value) else {
            // What is wrong in a table is told by what it must be: its values may be nobody's business.
            let instead = if case .strings = value, setting.form == .table { "" } else { ", not \(value.inWords)" }
            throw source.refuse("\(setting.key) must be \(setting.allowed)\(instead)")
        }
        sources[setting.key] = source
    }

    /// What no setting can be asked alone.
    private func checkTogether() throws {
        if sandbox.seconds <= sandbox.maxSeconds { return }
        let seconds = Setting.of(\.sandbox.seconds), most = Setting.of(\.sandbox.maxSeconds)
        let place = source(of: seconds) == .standard ? source(of: most) : source(of: seconds)
        throw place.refuse("\(seconds.key) is \(sandbox.seconds), over \(most.key), which is \(sandbox.maxSeconds)")
    }

    /// What is said of a key that no setting has.
    static func unknown(_ parts: [String]) -> String {
        "unknown key \(SettingValue.key(parts))" + (Nearest.key(to: parts).map { "; did you mean \($0)?" } ?? "")
    }
}
