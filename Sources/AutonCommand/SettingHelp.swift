import ArgumentParser
import AutonSettings

extension ArgumentHelp {
    /// The help of an option that stands for a setting, as the settings' table tells it.
    package static func setting(_ field: PartialKeyPath<Settings>, _ valueName: String) -> ArgumentHelp {
        let setting = Setting.of(field)
        let value = setting.value(Settings(find: { $0 }))?.bare
        let places = (setting.variable.map { ["$\($0)"] } ?? []) + ["\(setting.key) of auton.toml"]
        let usual = value.map { "\(places.joined(separator: ", ")), or \($0)" } ?? places.joined(separator: " or ")
        return ArgumentHelp(
            setting.summary, discussion: "Default: \(usual).", valueName: valueName)
    }
}
