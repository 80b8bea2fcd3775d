import ArgumentParser
import AutonAgents
import AutonCommand
import AutonKit
import AutonMessages
import AutonSettings
import Glibc
import SystemPackage

@main
struct AutonPlan: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-plan",
        abstract: "Turn a goal in English into tasks (the Manager).",
        discussion: """
            INPUT: the goal as arguments, or on standard input if the goal is -; the kernel tree that the workspace has on main.
            OUTPUT: the ids of the plan's tasks on standard output, one a line, each after what it depends on. Filed in the mailbox: goal/, \
            plan/, task/, and the task graph as a make fragment, graph.mk. The workspace is made if there is none.
            A goal that is planned already is not planned again; what a kill cut short is completed. \
            Where the Manager makes no plan the status is 69; asked again, it begins anew.

            \(exitStatusHelp)
            """)

    enum Form: String, ExpressibleByArgument, CaseIterable { case table, dot, mermaid }

    @Argument(help: "The goal; - reads it from standard input.")
    var goal: [String] = []

    @Option(
        help: ArgumentHelp(
            "Take a plan written by hand (JSON: goal, tasks), - for standard input; no model is asked.", valueName: "plan.json"))
    var from: String?

    @Flag(help: "Have the Manager deal with blocked tasks and with interactions that the composition check found.")
    var replan = false

    @Flag(help: "Complete what a kill cut short: what is planned gets its tasks and its place in the graph; no model is asked.")
    var publish = false

    @Option(help: ArgumentHelp("Print the plan as table, dot (Graphviz) or mermaid; alone, plan nothing.", valueName: "form"))
    var show: Form?

    @Option(help: .setting(\.paths.kernel, "dir"))
    var kernel: String?

    @Flag(
        help: "A new workspace starts from the whole kernel tree, not from its protected part alone. Default: $AUTON_ON_KERNEL.")
    var onKernel = false

    @Flag(help: "Print the plan message as JSON.")
    var json = false

    @OptionGroup var places: Places
    @OptionGroup var options: ModelOptions

    /// Not `validate`, which ArgumentParser calls before it has seen that an option is unknown.
    private func check() throws {
        let ways = [!goal.isEmpty, from != nil, replan, publish].filter { $0 }.count
        if ways > 1 { throw ValidationError("a goal, --from, --replan and --publish exclude one another") }
        if show != nil && json { throw ValidationError("--show and --json exclude one another") }
        if ways == 0 && show == nil { throw ValidationError("no goal (give it as an argument, or - for standard input)") }
    }

    func run() async throws {
        try check()
        try await stage {
            let settings = try places.settings([SettingFlag("--kernel", \.paths.kernel, kernel)] + options.flags)
            let text = try goalText()
            if text == nil && from == nil && !replan && !publish {
                // Who only looks writes nothing.
                var mailbox = Mailbox(FilePath(settings.paths.mailbox))
                mailbox.report = { complain($0) }
                guard Files.isDirectory(mailbox.root) else { throw AutonError(.badInput, "no mailbox", at: mailbox.root.string) }
                try report(nil, TaskBoard(mailbox))
                return .done
            }
            let mailbox = try settings.openMailbox()
            if try publish && mailbox.unpublishedPlan() == nil { return .done }
            try Tools.require("git")
            let handwritten = try from.map { try Files.read(FilePath($0 == "-" ? "/dev/stdin" : $0)) }
            // Taken first, so that of several at once one makes the workspace.
            guard let lock = try FileLock(trying: mailbox.root.appending("tmp/plan.lock")) else {
                throw AutonError(.tryAgain, "another auton-plan is at work", at: mailbox.root.string)
            }
            defer { lock.release() }
            if publish {
                let plan = try mailbox.unpublishedPlan()
                try mailbox.publish()
                try report(plan, TaskBoard(mailbox))
                return .done
            }
            let workspace = try await Workspace.open(
                FilePath(settings.paths.workspace), from: FilePath(settings.paths.kernel),
                origin: onKernel || environment("AUTON_ON_KERNEL") != nil ? .kernel : .scaffold)
            let planner = Planner(mailbox: mailbox, workspace: workspace, options: try options.choice(settings))
            let plan: Plan? =
                if let handwritten { try planner.plan(from: handwritten, at: from ?? "") } else if replan {
                    try await planner.replan()
                } else if let text { try await planner.plan(goal: text) } else { nil }
            if plan != nil { try mailbox.publish() }
            try report(plan, TaskBoard(mailbox))
            return .done
        }
    }

    private func report(_ plan: Plan?, _ board: TaskBoard) throws {
        for (task, reason) in try board.stuck() { complain("\(task) cannot start: \(reason)") }
        if let show {
            let graph = PlanGraph(board)
            switch show {
            case .table: print(graph.table)
            case .dot: print(graph.graphviz)
            case .mermaid: print(graph.mermaid)
            }
        } else if let plan, json {
            try printMessage(plan)
        } else if let plan, case .success(let order) = topologicalOrder(plan.tasks) {
            for id in order { print(id) }
        }
    }

    /// The goal without the white space around it; nil if none is asked for.
    private func goalText() throws -> String? {
        if goal.isEmpty { return nil }
        var text = goal.joined(separator: " ")
        if goal == ["-"] {
            text = ""
            while let line = readLine(strippingNewline: false), text.utf8.count <= Planner.maxGoalBytes { text += line }
        }
        return try Planner.goal(text)
    }
}
