import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
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

    @Option(help: ArgumentHelp("Price table.", discussion: "Default: $AUTON_PRICES, or data/models.tsv.", valueName: "file"))
    package var prices: String = environment("AUTON_PRICES") ?? Share.find("data/models.tsv")

    @Option(help: ArgumentHelp("Tokens of one reply at most.", valueName: "n"))
    package var maxTokens = 32_000

    package init() {}

    /// The transport, metered by the ledger of `mailbox` unless it only replays what was paid for already.
    package func openTransport(_ mailbox: Mailbox) throws -> any Transport {
        let transport = try Transports.open(model, runs: FilePath(runs), strict: strict) { complain($0) }
        if transport is ReplayTransport { return transport }
        let ledger = Ledger(
            mailbox.root, caps: try Caps(environment), prices: try PriceTable(reading: FilePath(prices)), report: { complain($0) }
        )
        return MeteredTransport(
            transport, BudgetMeter(ledger, needsPrice: false), reserving: transport is FileTransport ? .hereOnce : .here)
    }

    package func openPrompts() -> Prompts { Prompts(FilePath(prompts)) }
}
