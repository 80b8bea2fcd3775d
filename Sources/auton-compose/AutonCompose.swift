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
            INPUT: main of the workspace, or another commit.
            OUTPUT: a table on standard output, tests by configuration (each suite booted alone, all in one boot), the interactions found below \
            it; composition/TREE.json is filed. Exit status 1 if a test says one thing alone and another in company.

            \(exitStatusHelp)
            """)

    @Argument(help: "A commit or branch of the workspace.")
    var commit = "main"

    @Flag(help: "Print the message that is filed.")
    var json = false

    @Flag(help: "Print what the kernel prints when it boots without tests, in place of the table.")
    var console = false

    @OptionGroup var places: Places
    @OptionGroup var sandbox: SandboxOptions

    func run() async throws {
        try await stage {
            let settings = try places.settings()
            let mailbox = try settings.openMailbox()
            let workspace = try settings.openWorkspace()
            sandbox.apply()
            try Gate.requireTools()
            guard let id = try await workspace.git.commit(commit) else {
                throw AutonError(.badInput, "no such commit", at: commit)
            }
            let composer = Composer(mailbox: mailbox, workspace: workspace, limits: settings.sandbox.limits)
            let composition = try await composer.compose(id)
            if console {
                for line in composition.console { print(line) }
                return .done
            }
            if json { try printMessage(composition) } else { print(composition.matrix) }
            return composition.interactions.isEmpty ? .done : .refused
        }
    }
}
