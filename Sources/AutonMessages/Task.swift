/// One attempt at a planned task, due as soon as what it depends on is merged.
package struct TaskMessage: AttemptMessage {
    package static let kind = Kind.task
    package var task: String
    package var attempt: Int
    package var title: String
    package var role: Role
    package var subsystem: String
    package var description: String
    package var paths: [String]
    package var depends: [String]
    package var accept: [String]
    /// Why earlier attempts did not land, oldest first.
    package var reasons: [Reason]

    package init(_ planned: PlannedTask) {
        task = planned.id
        attempt = 1
        title = planned.title
        role = planned.role
        subsystem = planned.subsystem
        description = planned.description
        paths = planned.paths
        depends = planned.depends
        accept = planned.accept
        reasons = []
    }

    /// The attempt after this one, told why this one did not land.
    package func next(because reason: Reason) -> TaskMessage {
        var next = self
        next.attempt += 1
        next.reasons.append(reason)
        return next
    }

    /// The attempt after this one, in which the Architect resolves the conflict of this one's candidate with main.
    package func resolution(of reason: Reason) -> TaskMessage {
        var next = next(because: reason)
        next.role = .architect
        return next
    }
}

/// Why an attempt did not land.
package struct Reason: Codable, Sendable, Equatable {
    /// Where an attempt can end.
    package enum Stage: String, Choice { case agent, gate, review, merge }

    package var attempt: Int
    package var stage: Stage
    /// One line.
    package var summary: String
    /// What the next attempt needs to see: failing checks with their output, review comments, conflicts.
    package var details: [String]

    package init(attempt: Int, stage: Stage, summary: String, details: [String]) {
        self.attempt = attempt
        self.stage = stage
        self.summary = summary
        self.details = details
    }
}

/// A task that no further attempt is made at, until a re-plan replaces or drops it.
package struct Blocked: Message {
    package static let kind = Kind.blocked
    package var task: String
    /// How many attempts were made.
    package var attempts: Int
    package var reasons: [Reason]
    package var name: String { task }

    package init(task: String, attempts: Int, reasons: [Reason]) {
        self.task = task
        self.attempts = attempts
        self.reasons = reasons
    }
}
