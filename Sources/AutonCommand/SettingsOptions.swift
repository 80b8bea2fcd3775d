import ArgumentParser
import AutonSettings

/// Where the settings come from beside the environment.
package struct SettingsOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The configuration.", discussion: "Default: $AUTON_CONFIG, or auton.toml if there is one.", valueName: "file"))
    package var config: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Give a setting a value, over all else (auton-config lists them).", valueName: "key=value"))
    package var values: [String] = []

    package init() {}

    /// - Parameter flags: what the program's own options say.
    package func load(_ flags: [SettingFlag?] = []) throws -> Settings {
        try Settings.load(file: config, flags: values.map { try SettingFlag(set: $0) } + flags)
    }
}
