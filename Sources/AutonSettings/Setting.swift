import AutonKit

/// A row of the table of all settings: what `auton.toml`, the environment, the help texts and `auton config` know of one.
package struct Setting: Sendable {
    /// The key's parts, as `["budget", "usd"]`.
    package let parts: [String]
    /// Its environment variable; nil for a setting whose key is the user's to name.
    package let variable: String?
    /// One sentence.
    package let summary: String
    /// As in “an integer from 3 to 6”.
    package let allowed: String
    /// What the example shows of a setting that has no default.
    package let example: SettingValue?
    /// What the Swift code knows it by.
    let field: any PartialKeyPath<Settings> & Sendable
    let form: SettingForm
    /// Sets the value; false if it is not allowed.
    let store: @Sendable (inout Settings, SettingValue) -> Bool
    /// The value; nil if there is none.
    package let value: @Sendable (Settings) -> SettingValue?

    /// - Parameter variable: the environment variable, for one whose name does not follow from the key.
    init<Value: SettingType>(
        _ key: String, _ field: any WritableKeyPath<Settings, Value> & Sendable, _ summary: String,
        _ allowed: Allowed<Value> = Value.usual, variable: String? = nil
    ) {
        self.init(
            Self.split(key), field, summary, allowed, variable: variable ?? Self.variable(key), example: nil,
            store: { $0[keyPath: field] = $1 }, value: { $0[keyPath: field] })
    }

    /// A setting that has no value unless it is given one.
    init<Value: SettingType>(
        _ key: String, _ field: any WritableKeyPath<Settings, Value?> & Sendable, _ summary: String,
        _ allowed: Allowed<Value> = Value.usual, variable: String? = nil, example: Value
    ) {
        self.init(
            Self.split(key), field, summary, allowed, variable: variable ?? Self.variable(key), example: example,
            store: { $0[keyPath: field] = $1 }, value: { $0[keyPath: field] })
    }

    init<Value: SettingType>(
        _ parts: [String], _ field: any PartialKeyPath<Settings> & Sendable, _ summary: String, _ allowed: Allowed<Value>,
        variable: String?, example: Value?, store: @escaping @Sendable (inout Settings, Value) -> Void,
        value: @escaping @Sendable (Settings) -> Value?
    ) {
        self.parts = parts
        self.variable = variable
        self.summary = summary
        self.allowed = allowed.inWords
        self.example = example?.settingValue
        self.field = field
        form = Value.form
        self.store = { settings, given in
            guard let typed = Value(given), allowed.contains(typed) else { return false }
            store(&settings, typed)
            return true
        }
        self.value = { value($0)?.settingValue }
    }

    /// As it stands in a TOML file: `budget.usd`, `prices."gpt-4.1".input`.
    package var key: String { SettingValue.key(parts) }
    /// The key in its table.
    package var name: String { SettingValue.key([parts.last!]) }
    /// The table, as its header names it.
    package var tableName: String { SettingValue.key(parts.dropLast()) }

    private static func split(_ key: String) -> [String] { key.split(separator: ".").map(String.init) }

    private static func variable(_ key: String) -> String { "AUTON_" + key.uppercased().replacing(".", with: "_") }
}

extension Setting {
    /// All of them, in the order in which they are told. Prices are not among them: their keys are the models' names.
    package static let all = [model, roles, team, budget, gate, compose, sandbox, paths].flatMap(\.self)

    private static let byKey = Dictionary(uniqueKeysWithValues: all.map { ($0.parts, $0) })
    /// The tables in which settings lie, but not the settings that are tables themselves.
    static let tables = Set(all.flatMap { setting in (1..<setting.parts.count).map { Array(setting.parts.prefix($0)) } })
        .union([["prices"]])

    /// The setting that a key names; nil if there is none.
    package static func find(_ parts: [String]) -> Setting? {
        if parts.count == 3 && parts[0] == "prices" { return prices(of: parts[1]).first { $0.parts == parts } }
        return byKey[parts]
    }

    /// The setting that a key names as a TOML file would.
    ///
    /// - Throws: `AutonError` with `.usage`.
    package init(named key: String) throws {
        guard let parts = SettingsFile.parts(of: key) else { throw AutonError(.usage, "not a key: \(key)") }
        guard let setting = Self.find(parts) else { throw AutonError(.usage, Settings.unknown(parts)) }
        self = setting
    }

    /// The setting behind a field of `Settings`.
    package static func of(_ field: PartialKeyPath<Settings>) -> Setting {
        // By section, since every help text asks for a few settings, and making the whole table takes half a millisecond.
        func find(_ section: [Setting]) -> Setting? { section.first { $0.field == field } }
        guard
            let setting = find(paths) ?? find(team) ?? find(sandbox) ?? find(gate) ?? find(compose) ?? find(budget) ?? find(model)
                ?? find(roles)
        else { preconditionFailure("no setting for \(field)") }
        return setting
    }

    /// Whether settings lie in a table of that name.
    static func isTable(_ parts: [String]) -> Bool {
        tables.contains(parts) || parts.first == "prices" && parts.count == 2
    }
}
