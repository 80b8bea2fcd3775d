/// The user's goal, in English. Filed by `auton-plan`, named by number.
package struct Goal: Message {
    package static let kind = Kind.goal
    package var number: Int
    package var text: String
    package var name: String { String(number) }

    package init(number: Int, text: String) {
        self.number = number
        self.text = text
    }
}

/// Who works on a task.
package enum Role: String, Choice {
    case architect, developer, tester
}

/// A task as the Manager plans it; `Task` is an attempt at it.
package struct PlannedTask: Codable, Sendable, Equatable {
    package var id: String
    package var title: String
    package var role: Role
    /// The directory of the kernel tree the task is about, such as `boot`.
    package var subsystem: String
    package var description: String
    /// Files (`boot/entry.asm`) and directories (`boot/`) that the task may write.
    package var paths: [String]
    /// Ids of the tasks that must be merged first.
    package var depends: [String]
    /// Names of booted tests that must pass, with `*` as a wildcard: `boot.*`.
    package var accept: [String]

    package init(
        id: String, title: String, role: Role, subsystem: String, description: String, paths: [String],
        depends: [String] = [], accept: [String] = []
    ) {
        self.id = id
        self.title = title
        self.role = role
        self.subsystem = subsystem
        self.description = description
        self.paths = paths
        self.depends = depends
        self.accept = accept
    }
}

/// A revision of the plan: the tasks it adds, and what becomes of blocked ones. Named by number; later ones
/// amend earlier ones.
package struct Plan: Message {
    package static let kind = Kind.plan
    package var number: Int
    package var goal: String
    package var tasks: [PlannedTask]
    package var amendments: [Amendment]
    /// The composition whose interactions the tasks are to mend, by its name; nil if none.
    package var composition: String?
    /// The Manager's conversation; nil for a plan written by hand.
    package var provenance: Provenance?
    package var name: String { String(number) }

    package init(
        number: Int, goal: String, tasks: [PlannedTask], amendments: [Amendment] = [], composition: String? = nil,
        provenance: Provenance?
    ) {
        self.number = number
        self.goal = goal
        self.tasks = tasks
        self.amendments = amendments
        self.composition = composition
        self.provenance = provenance
    }
}

/// What a re-plan does with a blocked task: replaced by others (one: rewritten, several: split), or dropped (none).
package struct Amendment: Codable, Sendable, Equatable {
    package var task: String
    /// Ids of the tasks that take its place; empty if it is dropped.
    package var replacements: [String]
    package var reason: String

    package init(task: String, replacements: [String], reason: String) {
        self.task = task
        self.replacements = replacements
        self.reason = reason
    }
}
