import AutonKit
import AutonMessages

/// What one task, or one branch, brings to a composition: the change from one commit to another.
struct Part: Sendable, Hashable {
    /// The task, or the branch as it was given.
    var name: String
    /// What the change was made on.
    var base: String
    var commit: String
    /// The names of the parts that it cannot be without.
    var needs: [String] = []
}

extension Workspace {
    /// The parts that main is made of, in the order of their merges, and the commit before the first of them.
    func parts(mergedIn mailbox: Mailbox) async throws -> (base: String, parts: [Part])? {
        let merges = Dictionary(try mailbox.all(Merge.self).map { ($0.commit, $0) }, uniquingKeysWith: { first, _ in first })
        let depends = Dictionary(
            try mailbox.all(TaskMessage.self).map { ($0.task, $0.depends) }, uniquingKeysWith: { first, _ in first })
        let log = try await git.run("log", "--first-parent", "--reverse", "--format=%H %P", "main").split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
        let steps = log.compactMap { commits in merges[commits[0]].map { (merge: $0, before: commits[1]) } }
        guard let first = steps.first else { return nil }
        let names = Set(steps.map(\.merge.task))
        let parts = try steps.map { merge, _ in
            let candidate = try mailbox.get(Candidate.self, "\(merge.task).\(merge.attempt)")
            return Part(
                name: merge.task, base: candidate.base, commit: merge.candidate,
                needs: depends[merge.task, default: []].filter(names.contains))
        }
        return (first.before, parts)
    }

    /// The branches as parts, on what they have in common. One that has another among its ancestors needs that.
    ///
    /// - Throws: `AutonError` with `.badInput` if one is not there, or if they have nothing in common.
    func parts(ofBranches names: [String]) async throws -> (base: String, parts: [Part]) {
        var commits: [(name: String, commit: String)] = []
        for name in names {
            guard let commit = try await git.commit(name) else {
                throw AutonError(.badInput, "no such commit or branch", at: name)
            }
            commits.append((name, commit))
        }
        let common = try await git.result(["merge-base", "--octopus"] + commits.map(\.commit))
        guard common.succeeded else {
            throw AutonError(.badInput, "the branches have no commit in common", at: names.joined(separator: ", "))
        }
        var parts: [Part] = []
        for (name, commit) in commits {
            var part = Part(name: name, base: common.line, commit: commit)
            for other in commits where other.commit != commit && other.commit != common.line {
                let isBelow = try await git.result(["merge-base", "--is-ancestor", other.commit, commit]).succeeded
                if isBelow { part.needs.append(other.name) }
            }
            parts.append(part)
        }
        // What is needed comes first; a part's own change begins where the last of what it needs ends.
        parts.sort { $0.needs.count < $1.needs.count }
        for index in parts.indices {
            if let below = parts[..<index].last(where: { parts[index].needs.contains($0.name) }) {
                parts[index].base = below.commit
            }
        }
        return (common.line, parts)
    }
}
