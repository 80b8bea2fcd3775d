import ArgumentParser
import AutonCommand
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

@main
struct AutonStatus: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-status",
        abstract: "Show the state of every task.",
        discussion: """
            INPUT: the mailbox; what is no message in it is set aside in dead/.
            OUTPUT: a table on standard output, and the totals; or one word with --outcome: unplanned, due, done or blocked.

            \(exitStatusHelp)
            """)

    @Flag(help: "Print one word: unplanned, due, done or blocked.")
    var outcome = false

    @Flag(help: "Print the totals only.")
    var totals = false

    @Flag(help: "Print the id of main's tree without its protected part: what a recording is known by.")
    var tree = false

    @Flag(help: "Print the id of the tree that main began with, likewise.")
    var begun = false

    @Flag(help: "Print all of it as JSON.")
    var json = false

    @Flag(help: "Show the stages as they start and end, in place on a terminal, until standard input ends.")
    var follow = false

    @OptionGroup var places: Places

    func run() async throws {
        try await stage {
            let settings = try places.settings()
            var mailbox = Mailbox(FilePath(settings.paths.mailbox))
            mailbox.report = { complain($0) }
            if follow {
                try Follower(log: mailbox.root.appending("log/progress")).run()
                return .done
            }
            if tree || begun {
                let workspace = try settings.openWorkspace()
                print(
                    try await workspace.agentTree(
                        of: begun ? workspace.git.run("rev-list", "--max-parents=0", "main") : workspace.main()))
                return .done
            }
            guard Files.isDirectory(mailbox.root) else { throw AutonError(.badInput, "no mailbox", at: mailbox.root.string) }
            let asked = try mailbox.sweep()
            let ledger = Ledger(mailbox.root, caps: Caps(settings.budget, deadline: environment("AUTON_BUDGET_DEADLINE")))
            let held = Workspace.held(in: FilePath(settings.paths.workspace))
            let summary = try Summary(mailbox, asked, held: held, budget: ledger.summary())
            if json {
                print(try Summary.json(summary))
            } else if outcome {
                print(summary.outcome.rawValue)
            } else {
                print(totals ? summary.totals : summary.table)
            }
            return .done
        }
    }
}
