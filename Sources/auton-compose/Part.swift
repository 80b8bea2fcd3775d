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
    /// The parts that a commit of main is made of, in the order of their merges, and the commit before the first of them. What
    /// somebody committed in between is a part, too, by the name of its commit, which may be wherever it fits.
    func parts(of commit: String, mergedIn mailbox: Mailbox) async throws -> (base: String, parts: [Part])? {
        let merges = Dictionary(try mailbox.all(Merge.self).map { ($0.commit, $0) }, uniquingKeysWith: { first, _ in first })
        let log = try await git.run("log", "--first-parent", "--reverse", "--format=%H", commit)
            .split(separator: "\n").map(String.init)
        guard let start = log.firstIndex(where: { merges[$0] != nil }), start > 0 else { return nil }
        let places = Dictionary(uniqueKeysWithValues: log.enumerated().map { ($1, $0) })
        var parts: [Part] = []
        for place in start..<log.count {
            var part = Part(name: String(log[place].prefix(12)), base: log[place - 1], commit: log[place])
            if let merge = merges[log[place]] {
                let candidate = try mailbox.get(Candidate.self, "\(merge.task).\(merge.attempt)")
                part = Part(name: merge.task, branch: candidate.branch, base: candidate.base, commit: merge.candidate)
                // It was never seen without what main had when it was begun.
                part.needs = parts.prefix(max(0, (places[candidate.base] ?? -1) + 1 - start)).map(\.name)
            }
            parts.append(part)
        }
        return (log[start - 1], parts)
    }

    /// The branches as parts, on what they have in common. One that has another among its ancestors needs that.
    ///
    /// - Throws: `AutonError` with `.badInput` if one is not there, or is another one, or if they have nothing in common.
    func parts(ofBranches names: [String]) async throws -> (base: String, parts: [Part]) {
        var commits: [(name: String, commit: String)] = []
        for name in names {
            guard let commit = try await git.commit(name) else {
                throw AutonError(.badInput, "no such commit or branch", at: name)
            }
            if let same = commits.first(where: { $0.commit == commit }) {
                throw AutonError(.badInput, "the same commit as \(same.name)", at: name)
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
