import AutonMessages

/// The state of every task, as the files of the mailbox tell it.
package struct TaskBoard: Sendable {
    package enum State: Sendable, Equatable {
        /// Some of what it depends on is not merged yet.
        case waiting(on: [String])
        /// Something it depends on is blocked or dropped, so that it can never start: by whom.
        case stuck(behind: [String])
        /// The next stage of the attempt can run.
        case due(attempt: Int, stage: Stage)
        case merged
        /// No further attempt is made.
        case blocked
        /// A re-plan put these in its place.
        case replaced(by: [String])
        case dropped
    }

    package enum Stage: String, Sendable {
        case agent, validate, review, merge

        /// What whoever does it holds of the workspace's locks.
        fileprivate func lock(of attempt: String) -> String {
            switch self {
            case .agent: attempt
            case .validate: "gate-\(attempt)"
            case .review: "\(attempt).review"
            case .merge: "merge"
            }
        }
    }

    package let tasks: [PlannedTask]
    private let byID: [String: PlannedTask]
    private let replacements: [String: [String]]
    /// Why a re-plan replaced or dropped it.
    private let amended: [String: String]
    private let mailbox: Mailbox

    package init(_ mailbox: Mailbox) throws {
        self.init(mailbox, plans: try mailbox.all(Plan.self))
    }

    /// - Parameter plans: those of the mailbox.
    package init(_ mailbox: Mailbox, plans: [Plan]) {
        self.mailbox = mailbox
        let plans = plans.sorted { $0.number < $1.number }
        tasks = plans.flatMap(\.tasks)
        byID = Dictionary(tasks.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let amendments = plans.flatMap(\.amendments)
        replacements = Dictionary(amendments.map { ($0.task, $0.replacements) }, uniquingKeysWith: { _, last in last })
        amended = Dictionary(amendments.map { ($0.task, $0.reason) }, uniquingKeysWith: { _, last in last })
    }

    /// What a task waits for once re-plans are taken into account: a replaced task stands for its replacements.
    package func dependencies(of task: String) -> [String] {
        byID[task]?.depends.flatMap(resolve) ?? []
    }

    private func resolve(_ task: String) -> [String] {
        guard let replaced = replacements[task], !replaced.isEmpty else { return [task] }
        return replaced.flatMap(resolve)
    }

    /// The tasks that depend, directly or not, on one that was dropped.
    package func needsDropped() -> Set<String> {
        let dropped = Set(replacements.filter { $0.value.isEmpty }.keys)
        if dropped.isEmpty { return [] }
        var known: [String: Bool] = [:]
        func needs(_ task: String) -> Bool {
            if let answer = known[task] { return answer }
            let answer = dependencies(of: task).contains { dropped.contains($0) || needs($0) }
            known[task] = answer
            return answer
        }
        return Set(tasks.map(\.id).filter(needs))
    }

    package func state(of task: String) throws -> State {
        var known: [String: State] = [:]
        return try state(of: task, &known)
    }

    /// Every task with its state, in the order of the plans.
    package func states() throws -> [(task: PlannedTask, state: State)] {
        var known: [String: State] = [:]
        return try tasks.map { ($0, try state(of: $0.id, &known)) }
    }

    private func state(of task: String, _ known: inout [String: State]) throws -> State {
        if let state = known[task] { return state }
        let state = try readState(of: task, &known)
        known[task] = state
        return state
    }

    private func readState(of task: String, _ known: inout [String: State]) throws -> State {
        if mailbox.has(.merge, task) { return .merged }
        if let replaced = replacements[task] { return replaced.isEmpty ? .dropped : .replaced(by: replaced) }
        if mailbox.has(.blocked, task) { return .blocked }
        let open = dependencies(of: task).filter { !mailbox.has(.merge, $0) }
        if !open.isEmpty {
            var dead: [String] = []
            for dependency in open {
                switch try state(of: dependency, &known) {
                case .blocked, .dropped, .stuck: dead.append(dependency)
                default: break
                }
            }
            return dead.isEmpty ? .waiting(on: open) : .stuck(behind: dead)
        }
        let attempt = mailbox.latestAttempt(of: task)
        return .due(attempt: attempt, stage: stage(AttemptID(task: task, attempt: attempt)))
    }

    /// Tasks that can never start, each with what stands in its way, by name and cause.
    package func stuck() throws -> [(task: String, because: String)] {
        var known: [String: State] = [:]
        return try tasks.compactMap { task in
            guard case .stuck(let behind) = try state(of: task.id, &known) else { return nil }
            return (task.id, try behind.map { "\($0) \(try fate(of: $0, &known))" }.joined(separator: ", "))
        }
    }

    /// What has become of a task that is none of what others wait for.
    private func fate(of task: String, _ known: inout [String: State]) throws -> String {
        switch try state(of: task, &known) {
        case .blocked:
            let reason = try mailbox.find(Blocked.self, task)?.reasons.last
            return "is blocked" + (reason.map { " (\($0.stage.rawValue): \($0.summary))" } ?? "")
        case .dropped: return "is dropped (\(amended[task] ?? ""))"
        default: return "cannot start either"
        }
    }

    /// Whether a re-plan has replaced or dropped it.
    package func isAmended(_ task: String) -> Bool { replacements[task] != nil }

    private func stage(_ id: AttemptID) -> Stage {
        if mailbox.has(.review, id.description) { return .merge }
        if mailbox.has(.verdict, id.description) { return .review }
        return mailbox.has(.candidate, id.description) ? .validate : .agent
    }
}

extension TaskBoard.State {
    /// A few words, for tables.
    ///
    /// - Parameter held: the workspace's locks that somebody holds.
    package func summary(of task: String, held: Set<String>) -> String {
        switch self {
        case .waiting(let tasks): "waits for \(tasks.joined(separator: ", "))"
        case .stuck(let tasks): "cannot start without \(tasks.joined(separator: ", "))"
        case .due(let attempt, let stage):
            "attempt \(attempt): \(stage.rawValue) is \(held.contains(stage.lock(of: "\(task).\(attempt)")) ? "at work" : "due")"
        case .merged: "merged"
        case .blocked: "blocked"
        case .replaced(let tasks): "replaced by \(tasks.joined(separator: ", "))"
        case .dropped: "dropped"
        }
    }
}

extension Mailbox {
    /// The number of the newest attempt at a task; 1 if none is filed yet.
    package func latestAttempt(of task: String) -> Int {
        var attempt = 1
        while has(.task, AttemptID(task: task, attempt: attempt + 1).description) { attempt += 1 }
        return attempt
    }

    /// Resolves what a user names, a task or one attempt at it, to an attempt that is filed.
    package func attempt(named name: String) throws -> TaskMessage {
        let id = AttemptID(name) ?? AttemptID(task: name, attempt: latestAttempt(of: name))
        guard TaskID.isValid(id.task) else { throw AutonError(.badInput, "no such task", at: name) }
        if let message = try find(TaskMessage.self, id.description) { return message }
        // A first attempt follows from the plan: one that is gone (garbage that was set aside) is made up for.
        guard id.attempt == 1, let planned = try all(Plan.self).flatMap(\.tasks).last(where: { $0.id == id.task }) else {
            throw AutonError(.badInput, "no such task", at: name)
        }
        let message = TaskMessage(planned)
        try file(message)
        return message
    }

    /// Makes what follows a refusal: the next attempt with the reason, or, after `maxAttempts`, the end of the task.
    /// Doing it again changes nothing.
    ///
    /// - Parameter conflict: the next attempt is the Architect's, to resolve a conflict with main.
    /// - Returns: one line that says which it was.
    @discardableResult
    package func refuse(_ task: TaskMessage, because reason: Reason, maxAttempts: Int, conflict: Bool = false) throws -> String {
        if task.attempt >= maxAttempts {
            if !has(.blocked, task.task) {
                try file(Blocked(task: task.task, attempts: task.attempt, reasons: task.reasons + [reason]))
            }
            return "\(task.task) is blocked after \(task.attempt) attempt\(task.attempt == 1 ? "" : "s")"
        }
        let next = conflict ? task.resolution(of: reason) : task.next(because: reason)
        if !has(.task, next.name) { try file(next) }
        return "\(next.name) is filed"
    }
}
