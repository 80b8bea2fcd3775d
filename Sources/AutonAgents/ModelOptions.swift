import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
import AutonSettings
import SystemPackage

/// Which model answers, and what it is told of its role.
package struct ModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Who is the model: \(Transports.help).", discussion: "Default: $AUTON_MODEL, or replay:01-minimal-boot.",
            valueName: "uri"))
    package var model: String = environment("AUTON_MODEL") ?? "replay:01-minimal-boot"

    @Flag(help: "Drift from a recording is an error, not a remark. Default: $AUTON_STRICT.")
    package var strict = environment("AUTON_STRICT") != nil

    @Option(help: ArgumentHelp("Recorded runs.", discussion: "Default: $AUTON_RUNS, or runs.", valueName: "dir"))
    package var runs: String = environment("AUTON_RUNS") ?? Share.find("runs")

    @Option(help: ArgumentHelp("Role prompts.", discussion: "Default: $AUTON_PROMPTS, or prompts.", valueName: "dir"))
    package var prompts: String = environment("AUTON_PROMPTS") ?? Share.find("prompts")

    @Option(help: ArgumentHelp("Tokens of one reply at most.", valueName: "n"))
    package var maxTokens = 32_000

    package init() {}

    package func openTransport() throws -> any Transport {
        try Transports.open(model, runs: FilePath(runs), strict: strict) { complain($0) }
    }

    package func openPrompts() -> Prompts { Prompts(FilePath(prompts)) }
}
