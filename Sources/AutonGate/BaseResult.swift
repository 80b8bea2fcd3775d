import AutonKit
import SystemPackage

/// What a candidate is measured against.
struct BaseResult: Sendable {
    /// Nil if the base itself does not build and boot.
    var record: TreeRecord?
    /// Why not.
    var failure: String?

    /// From the cache, or by building and booting the base.
    ///
    /// Gates that need the same base at once wait for the first one to find out.
    static func of(commit: String, tree: String, in workspace: Workspace, limits: RunLimits) async throws -> BaseResult {
        if let record = TreeRecord.find(tree: tree, in: workspace) { return BaseResult(record: record) }
        let name = "base-\(tree)"
        var lock = try workspace.lock(name)
        while lock == nil {
            // Not by waiting in the kernel: whoever holds it may need this thread to go on.
            try await Task.sleep(for: .milliseconds(20))
            lock = try workspace.lock(name)
        }
        defer { withExtendedLifetime(lock) {} }
        if let record = TreeRecord.find(tree: tree, in: workspace) { return BaseResult(record: record) }
        let worktree = try await workspace.worktree(name, commit: commit)
        defer { try? worktree.remove() }
        var list = Checklist()
        let trial = try await list.buildAndBoot(worktree.root, isBase: true, limits: limits)
        guard let record = trial?.record, !list.hasFailed else { return BaseResult(failure: list.failure) }
        try record.save(tree: tree, in: workspace)
        try await BuildCache(workspace: workspace).keep(worktree.root, as: tree)
        return BaseResult(record: record)
    }
}
