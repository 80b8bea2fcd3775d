import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
import AutonSettings
import SystemPackage

/// Which model answers, and what it is told of its role.
package struct ModelOptions: ParsableArguments {
    @Option(help: .setting(\.model.uri, "uri"))
    package var model: String?

    @Flag(help: "Drift from a recording is an error, not a remark. Default: $AUTON_STRICT.")
    package var strict = false

    @Option(help: .setting(\.paths.runs, "dir"))
    package var runs: String?

    @Option(help: .setting(\.paths.prompts, "dir"))
    package var prompts: String?

    @Option(help: .setting(\.model.maxTokens, "n"))
    package var maxTokens: Int?

    package init() {}

    package var flags: [SettingFlag?] {
        [
            SettingFlag("--model", \.model.uri, model), SettingFlag("--runs", \.paths.runs, runs),
            SettingFlag("--prompts", \.paths.prompts, prompts), SettingFlag("--max-tokens", \.model.maxTokens, maxTokens),
        ]
    }

    package func choice(_ settings: Settings) throws -> ModelChoice {
        try ModelChoice(settings, strict: strict || environment("AUTON_STRICT") != nil)
    }
}
