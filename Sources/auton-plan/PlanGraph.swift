import AutonKit
import AutonMessages

/// The task graph in the forms that others read.
struct PlanGraph {
    var tasks: [PlannedTask]
    /// What each task waits for, re-plans taken into account.
    var dependencies: (String) -> [String]

    init(tasks: [PlannedTask], dependencies: @escaping (String) -> [String]) {
        self.tasks = tasks
        self.dependencies = dependencies
    }

    /// The tasks that no re-plan has replaced or dropped.
    init(_ board: TaskBoard) {
        self.init(tasks: board.tasks.filter { !board.isAmended($0.id) }, dependencies: board.dependencies)
    }

    /// Those of them that can start some day.
    init(startable board: TaskBoard) {
        self.init(board)
        let hopeless = board.needsDropped()
        tasks.removeAll { hopeless.contains($0.id) }
    }

    /// The make fragment: a task's merge needs those of its dependencies to exist. Order-only, since a message is
    /// never remade because another is newer.
    var makeFragment: String {
        var lines = ["# The task graph, written by auton-plan.", "TASKS := \(tasks.map(\.id).joined(separator: " "))"]
        for task in tasks {
            let depends = dependencies(task.id)
            if !depends.isEmpty {
                lines.append("\(target(task.id)): | \(depends.map(target).joined(separator: " "))")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func target(_ task: String) -> String { "$(MAILBOX)/merge/\(task).json" }

    /// For `dot -Tsvg`.
    var graphviz: String {
        let nodes = tasks.map { #"  "\#($0.id)" [label="\#($0.id)\n\#(escaped($0.title))"];"# }
        let edges = tasks.flatMap { task in dependencies(task.id).map { #"  "\#($0)" -> "\#(task.id)";"# } }
        return (["digraph plan {", "  rankdir=LR; node [shape=box];"] + nodes + edges + ["}"]).joined(separator: "\n")
    }

    var mermaid: String {
        let nodes = tasks.map { #"  \#($0.id)["\#($0.id): \#(escaped($0.title))"]"# }
        let edges = tasks.flatMap { task in dependencies(task.id).map { "  \($0) --> \(task.id)" } }
        return (["graph LR"] + nodes + edges).joined(separator: "\n")
    }

    private func escaped(_ text: String) -> String { text.replacing(#"""#, with: "'").replacing(#"\"#, with: #"\\"#) }

    var table: String {
        let rows =
            [["TASK", "ROLE", "AFTER", "PATHS", "TESTS", "TITLE"]]
            + tasks.map { task in
                [
                    task.id, task.role.rawValue, dependencies(task.id).joined(separator: ","), task.paths.joined(separator: ","),
                    task.accept.joined(separator: ","), task.title,
                ]
            }
        return Table.format(rows)
    }
}
