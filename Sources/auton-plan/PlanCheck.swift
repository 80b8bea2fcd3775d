import AutonKit
import AutonMessages

/// What a plan must be before any of it is filed.
struct PlanCheck {
    /// Ids that are planned already.
    var existing: Set<String> = []

    static let subsystems = ["boot", "mm", "sched", "ipc", "nl", "hv", "llm", "drivers", "lib"]

    /// One line for each thing that is wrong; empty if the plan is sound.
    func problems(in tasks: [PlannedTask]) -> [String] {
        var problems = tasks.isEmpty ? ["the plan has no task"] : []
        var seen = existing
        for task in tasks {
            if !TaskID.isValid(task.id) {
                problems.append(
                    "\(task.id): an id is lower-case letters, digits and hyphens, 64 at most, a letter first and no hyphen last")
            }
            if existing.contains(task.id) {
                problems.append("\(task.id): a task of this id is planned already")
            } else if !seen.insert(task.id).inserted {
                problems.append("\(task.id): this id is used twice")
            }
            if task.title.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
                problems.append("\(task.id): its title is not one line of text")
            }
        }
        for task in tasks {
            problems +=
                (task.depends.filter { !seen.contains($0) }.map { "depends on \($0), which is not in the plan" }
                + pathProblems(task) + acceptProblems(task)).map { "\(task.id): \($0)" }
        }
        if case .failure(let cycle) = topologicalOrder(tasks) {
            problems.append("these tasks depend on one another in a circle: \(cycle.ids.joined(separator: ", "))")
        }
        return problems
    }

    /// Where a role may write: in words, and whether a path is there.
    private func place(of role: Role) -> (name: String, holds: (String) -> Bool) {
        switch role {
        case .architect: ("include/", { $0.hasPrefix("include/") })
        case .tester: ("tests/", { $0.hasPrefix("tests/") })
        // What a subsystem takes over often needs a line in the one that had it before, or lands only together with its header.
        case .developer:
            (
                "the subsystems' directories and the headers of include/",
                { path in
                    Self.subsystems.contains { path.hasPrefix($0 + "/") } || path.hasPrefix("include/") && path.hasSuffix(".h")
                }
            )
        }
    }

    private func pathProblems(_ task: PlannedTask) -> [String] {
        var problems: [String] = []
        if !Self.subsystems.contains(task.subsystem) {
            problems.append("unknown subsystem \(task.subsystem) (there are \(Self.subsystems.joined(separator: ", ")))")
        }
        if task.paths.isEmpty { problems.append("has no paths, so it could write nothing") }
        let place = place(of: task.role)
        problems += task.paths.compactMap { path in
            if (Self.subsystems + ["include", "tests"]).contains(path) {
                return "path \(path) is no file; for what is in it write \(path)/"
            }
            if !Self.isPlain(path) {
                return
                    "path \(path) is not plain: names of letters, digits and ._+- with slashes between, and one behind a directory's"
            }
            return place.holds(path) ? nil : "path \(path) is outside \(place.name), where its role works"
        }
        let own = task.subsystem + "/"
        if problems.isEmpty && task.role == .developer && !task.paths.contains(where: { $0.hasPrefix(own) }) {
            problems.append("has no path in \(own), its subsystem's directory")
        }
        return problems
    }

    /// Whether it names one file, or a directory, in one way: no wildcards, no `..`.
    private static func isPlain(_ path: String) -> Bool {
        let names = path.split(separator: "/", omittingEmptySubsequences: false)
        return names.enumerated().allSatisfy { index, name in
            if name.isEmpty { return index > 0 && index == names.count - 1 }
            return name != "." && name != ".." && name.utf8.allSatisfy { $0.isLetterOrDigit || "._+-".utf8.contains($0) }
        }
    }

    private func acceptProblems(_ task: PlannedTask) -> [String] {
        if task.accept.isEmpty && task.role != .architect { return ["has no tests in accept, so nothing could judge it"] }
        return task.accept.filter { !isPattern($0) }.map { "accept \($0) is no test name such as boot.long_mode or boot.*" }
    }

    private func isPattern(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2
            && parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { $0.isLetterOrDigit || "_*".utf8.contains($0) } }
    }
}

/// The tasks that no order can satisfy.
struct DependencyCycle: Error, Equatable { var ids: [String] }

/// The tasks' ids, each after what it depends on, otherwise in the order given. Dependencies outside `tasks` count as met.
func topologicalOrder(_ tasks: [PlannedTask]) -> Result<[String], DependencyCycle> {
    let inside = Set(tasks.map(\.id))
    var waiting: [String: Int] = [:]
    var dependents: [String: [String]] = [:]
    for task in tasks {
        let depends = Set(task.depends).intersection(inside)
        waiting[task.id] = depends.count
        for dependency in depends { dependents[dependency, default: []].append(task.id) }
    }
    var order = tasks.map(\.id).filter { waiting[$0] == 0 }
    let position = Dictionary(tasks.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    var next = 0
    while next < order.count {
        let freed = (dependents[order[next]] ?? []).filter {
            waiting[$0]! -= 1
            return waiting[$0] == 0
        }
        order += freed.sorted { position[$0]! < position[$1]! }
        next += 1
    }
    let stuck = tasks.map(\.id).filter { waiting[$0]! > 0 }
    return stuck.isEmpty ? .success(order) : .failure(DependencyCycle(ids: stuck))
}
