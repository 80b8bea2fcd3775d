import AutonKit

/// A setting that the command line gives.
package struct SettingFlag: Sendable {
    /// As it was typed, for errors.
    let name: String
    let setting: Setting
    let text: String

    /// An option of a program's own that stands for a setting; nil if it was not given.
    package init?(_ name: String, _ field: PartialKeyPath<Settings>, _ value: (some CustomStringConvertible)?) {
        guard let value else { return nil }
        self.name = name
        setting = .of(field)
        text = value.description
    }

    /// `KEY=VALUE`, as `--set` takes it for any setting.
    ///
    /// - Throws: `AutonError` with `.usage`.
    package init(set pair: String) throws {
        let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard halves.count == 2 else { throw AutonError(.usage, "--set takes KEY=VALUE, not \(pair)") }
        name = "--set"
        setting = try Setting(named: halves[0])
        text = halves[1]
    }
}
