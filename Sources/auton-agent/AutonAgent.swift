import ArgumentParser
import AutonAgents
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonSettings
import Glibc
import SystemPackage

@main
struct AutonAgent: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-agent",
        abstract: "Work on a task, or review what was made of it, as one of the team.",
        discussion: """
            INPUT: task/TASK.N.json, the newest attempt unless one is named; for a review also its candidate/ and verdict/.
            OUTPUT: the branch on standard output; candidate/TASK.N.json is filed. For a review the decision, and a line for each comment; \
            review/TASK.N.json is filed, and the next attempt if changes are asked for (exit status 1).
            What is filed already is not done again. A conversation that was cut short goes on where its transcript ends.

            \(exitStatusHelp)
            """)

    enum RoleName: String, ExpressibleByArgument, CaseIterable { case architect, developer, tester, reviewer }

    // Optional, since of a missing argument alone the whole manual would be told.
    @Argument(help: "A task (boot-002) or an attempt at it (boot-002.1).")
    var task: String?

    @Option(help: "Whose part to take; that which the task names if left out. reviewer: review the candidate.")
    var role: RoleName?

    @Option(
        help: ArgumentHelp(
            "Turns of the conversation at most.", discussion: "Default: turns of the role in auton.toml, or 60.", valueName: "n"))
    var turns: Int?

    @Option(help: .setting(\.team.attempts, "n"))
    var attempts: Int?

    @Flag(help: "Print the message that is filed.")
    var json = false

    @OptionGroup var places: Places
    @OptionGroup var options: ModelOptions
    @OptionGroup var sandbox: SandboxOptions

    /// Not `validate`, which ArgumentParser calls before it has seen that an option is unknown.
    private func check() throws {
        if task == nil { throw ValidationError("no task (boot-002, or an attempt at it: boot-002.1)") }
        if let turns, turns < 1 { throw ValidationError("--turns is 1 or more") }
    }

    func run() async throws {
        try check()
        try await stage {
            let settings = try places.settings(options.flags + [SettingFlag("--attempts", \.team.attempts, attempts)])
            let mailbox = try settings.openMailbox()
            var task = try mailbox.attempt(named: task ?? "")
            sandbox.apply()
            try Gate.requireTools()
            if let role, let named = Role(rawValue: role.rawValue) { task.role = named }
            let part = role == .reviewer ? .reviewer : TeamRole(task.role)
            // What agents try waits for the gate, on which everybody waits; testers' experiments, of which there are many, for the others'.
            let process = __priority_which_t(PRIO_PROCESS.rawValue), us = id_t(getpid())
            setpriority(process, us, max(getpriority(process, us), part == .tester ? 10 : 5))
            let agent = Agent(
                mailbox: mailbox, workspace: try settings.openWorkspace(), options: try options.choice(settings),
                maxTurns: turns ?? settings.roles[part].turns, maxAttempts: settings.team.attempts)
            if role == .reviewer { return try report(try await agent.reviewInTurn(task)) }
            let candidate = try await agent.work(on: task)
            if candidate.outcome == .gaveUp {
                complain("\(candidate.name) is not finished: \(candidate.summary.prefix { $0 != "\n" })")
            }
            if json { try printMessage(candidate) } else { print(candidate.branch) }
            return .done
        }
    }

    private func report(_ review: Review) throws -> ExitStatus {
        if json {
            try printMessage(review)
        } else {
            show("\(review.decision.rawValue): \(review.summary)")
            for comment in review.comments { show("\(comment.file):\(comment.line): \(comment.text)") }
        }
        return review.decision == .approve ? .done : .refused
    }
}
