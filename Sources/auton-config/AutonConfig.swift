import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
import AutonSettings

@main
struct AutonConfig: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-config",
        abstract: "Show every setting, its value, and where that comes from.",
        discussion: """
            INPUT: auton.toml, or the file that --config or $AUTON_CONFIG names; the environment. What the command line says goes over \
            the environment, that over the file, that over the defaults.
            OUTPUT: every setting as `key = value  # source` on standard output, which is itself a configuration; a setting that has no \
            value is a comment. `get` prints bare values for shell scripts, `check` nothing. What is unknown or not allowed is named with \
            its line on standard error. Of the API key only the source is told, never the key.

            \(exitStatusHelp)
            """,
        subcommands: [ListCommand.self, GetCommand.self, CheckCommand.self], defaultSubcommand: ListCommand.self)
}

struct ListCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Print every setting (what is done if no command is named).")

    @Flag(help: "Print one JSON object a line: key, value, source.") var json = false
    @Flag(help: "Print a commented example with every setting, its default and its meaning.") var example = false
    @OptionGroup var source: SettingsOptions

    func run() async throws {
        try await stage {
            if example {
                print(Example.text, terminator: "")
                return .done
            }
            let listing = try Listing(source.load())
            print(json ? try listing.json() : listing.toml, terminator: "")
            return .done
        }
    }
}

struct GetCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print bare values, one a line; an empty line for a setting that has none.")

    @Argument(help: "As in budget.usd.") var keys: [String]
    @OptionGroup var source: SettingsOptions

    func run() async throws {
        try await stage {
            let settings = try source.load()
            for setting in try keys.map(Setting.init(named:)) { print(setting.value(settings)?.bare ?? "") }
            return .done
        }
    }
}

struct CheckCommand: SuiteCommand {
    static let configuration = CommandConfiguration(commandName: "check", abstract: "Print nothing if all is well.")

    @OptionGroup var source: SettingsOptions

    func run() async throws {
        try await stage {
            let settings = try source.load()
            _ = try APIKey.find(settings)
            _ = try PriceTable(settings)
            return .done
        }
    }
}
