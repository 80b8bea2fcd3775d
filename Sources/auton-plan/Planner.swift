import AutonAgents
import AutonCommand
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import SystemPackage

/// Makes plans and files them.
struct Planner {
    var mailbox: Mailbox
    var workspace: Workspace
    var options: ModelChoice

    static let maxGoalBytes = 64 << 10

    /// Plans a goal that the Manager has not planned yet; one that is planned already stays as it is.
    func plan(goal: String) async throws -> Plan {
        let plans = try plans()
        if let done = plans.last(where: { $0.goal == goal }) { return done }
        // Before it is filed: where no model was named, it would be gone on with in place of the recorded run. A model that was misnamed loses no goal.
        if let replay = try? options.openTransport(.manager, mailbox) as? ReplayTransport { try check(replay, is: goal) }
        let goals = try mailbox.all(Goal.self)
        if !goals.contains(where: { $0.text == goal }) {
            try mailbox.file(Goal(number: (goals.map(\.number).max() ?? 0) + 1, text: goal))
        }
        let existing = plans.flatMap(\.tasks)
        let check = PlanCheck(existing: Set(existing.map(\.id)))
        let closing = SubmitPlan(replan: false) { check.problems(in: $0.tasks) }
        var request = "The goal:\n\n\(goal)\n"
        if !existing.isEmpty { request += "\nPlanned already (their ids are taken):\n\n\(try stateTable())\n" }
        return try await ask(request, closing: closing, goal: goal, number: number(after: plans))
    }

    /// A plan written by hand.
    func plan(from text: [UInt8], at place: String) throws -> Plan {
        struct Draft: Codable { var goal: String?; var tasks: [PlannedTask]; var amendments: [Amendment]? }
        // Read with its types first by what the Manager's plans must hold to, which tells all that is wrong.
        let slips = SubmitPlan.slips(in: try CompactJSON.decode(JSONValue.self, from: text, at: place))
        guard slips.isEmpty else { throw Self.doesNotHold(slips, at: place) }
        let draft = try CompactJSON.decode(Draft.self, from: text, at: place)
        if let goal = draft.goal { _ = try Self.goal(goal, at: place) }
        let plans = try plans()
        if let done = plans.last(where: { $0.tasks == draft.tasks }) { return done }
        let problems =
            PlanCheck(existing: Set(plans.flatMap(\.tasks).map(\.id))).problems(in: draft.tasks)
            + Self.problems(
                of: draft.amendments ?? [], new: draft.tasks, hopeless: try blocked() + TaskBoard(mailbox).stuck().map(\.task))
        guard problems.isEmpty else { throw Self.doesNotHold(problems, at: place) }
        let plan = Plan(
            number: number(after: plans), goal: draft.goal ?? "", tasks: draft.tasks, amendments: draft.amendments ?? [],
            provenance: nil)
        try mailbox.file(plan)
        return plan
    }

    private static func doesNotHold(_ problems: [String], at place: String) -> AutonError {
        AutonError(.badInput, "the plan does not hold: \(problems.joined(separator: "; "))", at: place)
    }

    /// A goal without the white space around it.
    ///
    /// - Throws: `AutonError` if nothing is left of it, or it is too long.
    static func goal(_ text: String, at place: String? = nil) throws -> String {
        let trimmed = String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        guard !trimmed.isEmpty else { throw AutonError(place == nil ? .usage : .badInput, "the goal is empty", at: place) }
        guard trimmed.utf8.count <= maxGoalBytes else {
            throw AutonError(.badInput, "the goal is over \(maxGoalBytes) bytes; put the details in the kernel's spec", at: place)
        }
        return trimmed
    }

    /// Has the Manager deal with what is blocked and with the interactions found. If there is neither it is the last plan, if that is to
    /// be published still, or nil.
    func replan() async throws -> Plan? {
        let plans = try plans()
        guard let goal = plans.last?.goal else { throw AutonError(.badInput, "nothing is planned yet", at: mailbox.root.string) }
        let board = try TaskBoard(mailbox)
        let (blocked, stuck) = (try blocked(), try board.stuck().map(\.task))
        let composition = try await openComposition(plans)
        if blocked.isEmpty && composition == nil { return try mailbox.unpublishedPlan() }
        let existing = Set(board.tasks.map(\.id))
        let check = PlanCheck(existing: existing)
        let closing = SubmitPlan(replan: true) { draft in
            // All may be dropped: then there is no new task, which a first plan may not be.
            let nothingNew = draft.tasks.isEmpty && composition == nil
            // What was found once is to be found by a test from then on.
            let untested = composition != nil && !draft.tasks.contains { $0.role == .tester }
            return (nothingNew ? [] : check.problems(in: draft.tasks)) + Self.problems(in: draft, blocked: blocked, stuck: stuck)
                + (untested ? ["no tester task: what is wrong in company wants a test that fails as long as it is"] : [])
        }
        var request = "The goal:\n\n\(goal)\n\nThe tasks so far:\n\n\(try stateTable())\n"
        for task in try blocked.map({ try mailbox.get(Blocked.self, $0) }) {
            request += "\n## \(task.task) is blocked after \(task.attempts) attempts\n\n\(describe(task.reasons))\n"
        }
        if let composition {
            request += "\n## What is one thing alone and another in company\n\(Self.evidence(composition))\n"
        }
        return try await ask(request, closing: closing, goal: goal, number: number(after: plans), composition: composition?.name)
    }

    private func blocked() throws -> [String] {
        try TaskBoard(mailbox).states().filter { $0.state == .blocked }.map(\.task.id)
    }

    private func plans() throws -> [Plan] {
        try mailbox.all(Plan.self).sorted { $0.number < $1.number }
    }

    private func number(after plans: [Plan]) -> Int { (plans.last?.number ?? 0) + 1 }

    /// - Throws: `AutonError` with `.badConfiguration` if it is a recording of another goal.
    private func check(_ replay: ReplayTransport, is goal: String) throws {
        guard try replay.recordedGoal() == goal else {
            throw AutonError(
                .badConfiguration, "the recording is of another goal; a goal of your own needs a model (\(ModelChoice.ways))",
                at: replay.run.string)
        }
    }

    private func ask(_ request: String, closing: SubmitPlan, goal: String, number: Int, composition: String? = nil) async throws
        -> Plan
    {
        let transport = try options.openTransport(.manager, mailbox)
        if let replay = transport as? ReplayTransport { try check(replay, is: goal) }
        let main = try await workspace.main()
        // Held for as long as the worktree is needed: one that nobody holds is swept away.
        guard let lock = try workspace.lock("plan") else {
            throw AutonError(.tryAgain, "another auton-plan is at work", at: workspace.root.string)
        }
        defer { lock.release() }
        let tree = try await workspace.worktree("plan", commit: main)
        defer { try? tree.remove() }
        let name = "plan-\(number)"
        let tools = readingTools(ConfinedDirectory(tree.root))
        let opening = Transcript.Opening(
            conversation: name, role: "manager", maxTokens: options.maxTokens,
            system: try options.openPrompts().load("manager", facts: ["turns": String(maxTurns)]),
            tools: (tools + [closing]).map(\.definition), baseTree: try await workspace.git.tree(of: main))
        // What was cut short is gone on with, unless it is about something else, such as another goal.
        if let begun = try Transcript(reading: mailbox.transcript(name)).requests.first, begun != [.user(request)] {
            mailbox.setAside("transcript/\(name).jsonl", because: "the Manager is asked something else now")
        }
        let conversation = try Conversation(
            opening, at: mailbox.transcript(name), transport: transport, window: options.window(.manager)
        ) { complain($0) }
        let loop = AgentLoop(conversation: conversation, tools: tools, closing: closing, maxTurns: maxTurns)
        switch try await ending(of: loop, name, request) {
        case .gaveUp(let surrender):
            throw AutonError(.unavailable, "the Manager made no plan: \(surrender)")
        case .finished(let input):
            let draft = try SubmitPlan.draft(from: input)
            let plan = Plan(
                number: number, goal: goal, tasks: draft.tasks, amendments: draft.amendments ?? [],
                composition: composition, provenance: try await conversation.transcript.provenance())
            try mailbox.file(plan)
            return plan
        }
    }

    /// Runs the conversation. One that came to no plan is over: asked again, the Manager is asked anew.
    private func ending(of loop: AgentLoop, _ name: String, _ request: String) async throws -> AgentEnding {
        let ending: AgentEnding
        do { ending = try await loop.run(task: request) } catch let refusal as PlanRefused {
            ending = .gaveUp(Surrender(refusal.reason))
        }
        if case .gaveUp(let surrender) = ending {
            mailbox.setAside("transcript/\(name).jsonl", because: surrender.reason, quietly: true)
        }
        return ending
    }

    private var maxTurns: Int { options.settings.roles[.manager].turns }

    private func stateTable() throws -> String {
        Table.format(
            try TaskBoard(mailbox).states().map { [$0.id, $0.role.rawValue, $1.summary(of: $0.id, held: []), $0.title] })
    }

    /// What is wrong with the amendments: every blocked task needs one, and they speak of nothing else than these and what is stuck
    /// behind them.
    private static func problems(in draft: PlanDraft, blocked: [String], stuck: [String]) -> [String] {
        let amendments = draft.amendments ?? []
        let unspoken = Set(blocked).subtracting(amendments.map(\.task)).sorted()
        return unspoken.map { "\($0) is blocked, and no amendment speaks of it" }
            + problems(of: amendments, new: draft.tasks, hopeless: blocked + stuck)
    }

    private static func problems(of amendments: [Amendment], new tasks: [PlannedTask], hopeless: [String]) -> [String] {
        let new = Set(tasks.map(\.id))
        var problems: [String] = []
        for amendment in amendments {
            if !hopeless.contains(amendment.task) {
                problems.append("\(amendment.task) is neither blocked nor stuck behind one that is, so it cannot be amended")
            }
            for replacement in amendment.replacements where !new.contains(replacement) {
                problems.append("\(amendment.task): its replacement \(replacement) is not among the new tasks")
            }
        }
        return problems
    }

    /// The findings on main as it is now, unless a plan has taken them up already.
    private func openComposition(_ plans: [Plan]) async throws -> Composition? {
        let tree = try await workspace.git.tree(of: workspace.main())
        guard let found = try mailbox.find(Composition.self, tree), !found.interactions.isEmpty else { return nil }
        return plans.contains { $0.composition == found.name } ? nil : found
    }

    /// Lines of a change that the Manager is shown for each task that is to blame.
    private static let shownLines = 60

    /// The interactions, and what those changed who are to blame.
    private static func evidence(_ composition: Composition) -> String {
        let found = composition.interactions.flatMap { ["", "### \($0.summary)", ""] + $0.details }
        let changed = (composition.changes ?? []).flatMap { ["", "### What \($0.part) changed", ""] + lines(of: $0.change) }
        return (found + changed).joined(separator: "\n")
    }

    private static func lines(of change: ChangeSummary) -> [String] {
        var lines: [String] = []
        for file in change.files {
            for hunk in file.hunks {
                lines.append("\(file.path):\(hunk.newStart)")
                lines += hunk.removed.map { "-" + $0 }
                lines += hunk.added.map { "+" + $0 }
            }
        }
        let omitted = lines.count - shownLines
        return lines.prefix(shownLines) + (omitted > 0 ? ["[… \(omitted) more lines]"] : [])
    }
}
