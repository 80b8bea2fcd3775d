import AutonKit

/// Puts subsets of parts together on one base, without touching a branch or a worktree.
actor Assembly {
    nonisolated let workspace: Workspace
    /// A commit.
    nonisolated let base: String
    /// In the order in which they are put together.
    nonisolated let parts: [Part]
    private var made: [[Part]: Task<String?, any Error>] = [:]

    init(workspace: Workspace, base: String, parts: [Part]) {
        self.workspace = workspace
        self.base = base
        self.parts = parts
    }

    /// The subset with all that it needs, in the order of `parts`.
    nonisolated func closure(of subset: [Part]) -> [Part] {
        var names = Set(subset.map(\.name))
        for part in parts.reversed() where names.contains(part.name) { names.formUnion(part.needs) }
        return parts.filter { names.contains($0.name) }
    }

    /// The tree of the subset with all that it needs, as a commit; nil where changes are in conflict.
    func commit(of subset: [Part]) async throws -> String? {
        let closure = closure(of: subset)
        if let task = made[closure] { return try await task.value }
        let task = Task { try await make(closure) }
        made[closure] = task
        return try await task.value
    }

    private nonisolated func make(_ parts: [Part]) async throws -> String? {
        var commit = base
        for part in parts {
            // Three-way, whatever the history is: both sides get the part's base for their only parent.
            let root = try await self.commit(tree: part.base, on: nil)
            let ours = try await self.commit(tree: commit, on: root), theirs = try await self.commit(tree: part.commit, on: root)
            let merged = try await workspace.mergeTree(ours, theirs)
            guard merged.conflicts.isEmpty else { return nil }
            commit = try await self.commit(tree: merged.tree, on: nil)
        }
        return commit
    }

    private nonisolated func commit(tree: String, on parent: String?) async throws -> String {
        try await workspace.git.run(
            ["commit-tree", "-m", "composition"] + (parent.map { ["-p", $0] } ?? []) + [tree + "^{tree}"])
    }
}
