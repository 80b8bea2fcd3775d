import ArgumentParser
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonSettings
import SystemPackage

@main
struct AutonCompose: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-compose",
        abstract: "Check that what works alone works combined.",
        discussion: """
            INPUT: main of the workspace, with the merges of the mailbox, or another commit. Several commits or branches are put \
            together and looked at in the same way, with no mailbox.

            Booted are: every change on what it was made on; every suite alone; everything together, twice in instructions and twice \
            by the clock; everything in other orders of tests and init functions; and everything without a change that touches two \
            others, which may be well only in its company. Compared are results and exact instruction counts, and of the whole kernel \
            the image's sections, what it takes to boot and what the kernel tells of itself.

            OUTPUT: a table on standard output: every test and benchmark in the boot of the change that brought it, in that of its suite, \
            in other orders and with everything, and its instructions; the figures of the whole; below them the interactions found, each \
            with the smallest set of changes that shows it, by delta debugging, and with the functions in which a slowdown is spent. \
            composition/TREE.json is filed for main, and for nothing else; what is filed is told again, unless other options are asked for. Exit status 1 if anything is one thing alone and another in \
            company, if two boots that should be the same are not, or if branches are in conflict.

            \(exitStatusHelp)
            """)

    @Argument(help: ArgumentHelp("A commit or branch of the workspace, or several to put together.", valueName: "rev"))
    var commits = ["main"]

    @Flag(help: "Boot every two changes together, in place of everything without one that touches them.")
    var allPairs = false

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
            let demand = Composer.Demand(
                share: settings.compose.slower, orders: settings.compose.orders, allPairs: allPairs,
                profiler: Share.data("profile.c"))
            let composing = Composing(workspace: workspace, limits: settings.sandbox.limits, demand: demand)
            let composition: Composition
            if commits.count > 1 {
                composition = try await composing.compose(branches: commits)
            } else {
                guard let id = try await workspace.git.commit(commits[0]) else {
                    throw AutonError(.badInput, "no such commit", at: commits[0])
                }
                composition =
                    try await workspace.main() == id
                    ? try await composing.composeMain(filedIn: try settings.openMailbox()) : try await composing.compose(id)
            }
            if console {
                for line in composition.console { show(line) }
                return .done
            }
            if json { try printMessage(composition) } else { print(composition.matrix) }
            return composition.interactions.isEmpty ? .done : .refused
        }
    }
}
