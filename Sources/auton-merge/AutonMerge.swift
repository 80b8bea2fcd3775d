import ArgumentParser
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonSettings

@main
struct AutonMerge: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-merge",
        abstract: "Merge accepted and approved candidates into main (the Integrator).",
        discussion: """
            INPUT: candidate/, verdict/ and review/ of the tasks named, or of every task that is ready, in the order of their dependencies.
            OUTPUT: the merge commits on standard output, one a line; merge/TASK.json is filed for each. The merged tree is built and booted \
            on all machines that gate.merge_boots asks for (those that cannot be had are named on standard error), then main is moved by compare-and-swap. On a conflict or a red merged tree main stays, and the task's next attempt is filed \
            (exit status 1).

            \(exitStatusHelp)
            """)

    @Argument(help: "Tasks; all that are ready if left out.")
    var tasks: [String] = []

    @Option(help: .setting(\.team.attempts, "n"))
    var attempts: Int?

    @Option(
        help: ArgumentHelp(
            "Keep to the order in which a recorded run merged.",
            discussion: "Default: $AUTON_SCHEDULE, or the recording that the model is, if the plan is its plan.",
            valueName: "run directory"))
    var schedule: String?

    @Flag(help: "Print the merge messages as JSON.")
    var json = false

    @OptionGroup var places: Places
    @OptionGroup var sandbox: SandboxOptions

    func run() async throws {
        try await stage {
            let settings = try places.settings([SettingFlag("--attempts", \.team.attempts, attempts)])
            let mailbox = try settings.openMailbox()
            let named = try tasks.map { try mailbox.attempt(named: $0) }
            sandbox.apply()
            try Gate.requireTools()
            let workspace = try settings.openWorkspace()
            let recording = try settings.recording(named: schedule, repeatedIn: mailbox)
            let recorded = recording.map { RecordedRun($0, repeatedIn: mailbox, workspace) }
            let integrator = Integrator(
                mailbox: mailbox, workspace: workspace, limits: settings.sandbox.limits, demands: settings.gate.mergeDemands,
                maxAttempts: settings.team.attempts,
                recorded: recorded)
            if let recorded, let task = named.first?.task, !mailbox.has(.merge, task) {
                _ = try await recorded.patiently { try await recorded.isTurn(of: task) ? true : nil }
            }
            let lock = try workspace.mergeLock()
            defer { lock.release() }
            try await workspace.sweep()
            var refused = false
            for task in try named.isEmpty ? ready(mailbox) : named {
                switch try await integrator.merge(task) {
                case .merged(let merge):
                    if json { try printMessage(merge) } else { print("\(merge.commit) \(merge.task).\(merge.attempt)") }
                    let skipped = (merge.boots ?? []).filter { $0.outcome == .skipped }.map { "\($0.name) (\($0.detail))" }
                    if !skipped.isEmpty {
                        complain("\(merge.task) is merged without a boot of \(skipped.joined(separator: ", "))")
                    }
                case .refused(let why, let consequence):
                    complain("\(task.name) cannot be merged: \(why); \(consequence)")
                    refused = true
                }
            }
            return refused ? .refused : .done
        }
    }

    /// The tasks whose next stage is the merge, each after what it depends on.
    private func ready(_ mailbox: Mailbox) throws -> [TaskMessage] {
        try TaskBoard(mailbox).states().compactMap { task, state in
            guard case .due(let attempt, .merge) = state else { return nil }
            let message = try mailbox.find(TaskMessage.self, AttemptID(task: task.id, attempt: attempt).description)
            let approved = try mailbox.find(Review.self, message?.name ?? "")?.decision == .approve
            return approved ? message : nil
        }
    }
}
