import ArgumentParser
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonSettings

@main
struct AutonCompose: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-compose",
        abstract: "Check that what works alone works combined.",
        discussion: """
            INPUT: main of the workspace, with the merges of the mailbox, or another commit. Several commits or branches are put \
            together and looked at in the same way, with no mailbox.

            OUTPUT: a table on standard output: every test in a boot of the change that brought it, in a boot of its suite alone, and \
            with everything in one boot; below it the interactions found, each with the smallest set of tasks that shows it, by delta \
            debugging. composition/TREE.json is filed, but not for branches by hand. Exit status 1 if a test says one thing alone \
            and another in company, or if branches are in conflict.

            \(exitStatusHelp)
            """)

    @Argument(help: ArgumentHelp("A commit or branch of the workspace, or several to put together.", valueName: "rev"))
    var commits = ["main"]

    @Flag(help: "Print the message that is filed.")
    var json = false

    @Flag(help: "Print what the kernel prints when it boots without tests, in place of the table.")
    var console = false

    @OptionGroup var places: Places
    @OptionGroup var sandbox: SandboxOptions

    func run() async throws {
        try await stage {
            let settings = try places.settings()
            let workspace = try settings.openWorkspace()
            sandbox.apply()
            try Gate.requireTools()
            let composing = Composing(workspace: workspace, limits: settings.sandbox.limits)
            let composition: Composition
            if commits.count > 1 {
                composition = try await composing.compose(branches: commits)
            } else {
                guard let id = try await workspace.git.commit(commits[0]) else {
                    throw AutonError(.badInput, "no such commit", at: commits[0])
                }
                composition = try await composing.compose(id, filedIn: try settings.openMailbox())
            }
            if console {
                for line in composition.console { print(line) }
                return .done
            }
            if json { try printMessage(composition) } else { print(composition.matrix) }
            return composition.interactions.isEmpty ? .done : .refused
        }
    }
}
