import AutonKit
import AutonMessages

/// What one task, or one branch, brings to a composition: the change from one commit to another.
struct Part: Sendable, Hashable {
    /// The task, or the branch as it was given.
    var name: String
    /// The branch of the task's attempt; nil of a branch that was given.
    var branch: String?
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
        let log = try await git.run("log", "--first-parent", "--reverse", "--format=%H %P", "main").split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
        let steps = log.compactMap { commits in merges[commits[0]].map { (merge: $0, before: commits[1]) } }
        guard let first = steps.first else { return nil }
        let places = Dictionary(uniqueKeysWithValues: log.enumerated().map { ($1[0], $0) })
        let parts = try steps.map { merge, _ in
            let candidate = try mailbox.get(Candidate.self, "\(merge.task).\(merge.attempt)")
            // It was never seen without what had been merged when it was begun.
            let ground = places[candidate.base] ?? -1
            let needs = steps.filter { (places[$0.merge.commit] ?? .max) <= ground }.map(\.merge.task)
            return Part(name: merge.task, branch: candidate.branch, base: candidate.base, commit: merge.candidate, needs: needs)
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
