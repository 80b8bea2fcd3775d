import AutonKit
import SystemPackage

/// What trees of main were built to, for make to go on from where a candidate changes little.
///
/// Only a merge's gate puts something here, and whoever measures a base: of a tree that was built from nothing, by the user's Makefile,
/// with no command of a model's. Make rebuilds what has another digest than before. That this comes to the same as a build from nothing is what
/// the check `reproducible` sees whenever the same tree is built both ways.
package struct BuildCache: Sendable {
    /// Trees kept; main has moved on from older ones.
    private static let kept = 4

    private let workspace: Workspace

    package init(workspace: Workspace) { self.workspace = workspace }

    private func place(_ tree: String) -> FilePath { workspace.cache.appending("build-\(tree)") }

    /// What a tree of main was built to, if that is kept.
    package func kept(_ tree: String) -> FilePath? { Files.isDirectory(place(tree)) ? place(tree) : nil }

    /// Puts what the base was built to into a checkout, if that is known, and if make sees all that the change can do to it: what includes a
    /// file it knows only of those that were there, and of headers that come and go only in `include/`.
    func seed(_ checkout: FilePath, from baseTree: String, for change: Change) {
        guard let source = kept(baseTree), change.files.allSatisfy(Self.isSeen) else { return }
        // It is just being removed, or the disk is full: a build from nothing will tell.
        do { try Self.put(source, into: checkout) } catch { try? Files.removeTree(checkout.appending("build")) }
    }

    private static func isSeen(_ file: ChangedFile) -> Bool {
        let isOfOne = KernelSources.directories.contains(String(file.path.prefix { $0 != "/" }))
        return file.path.hasPrefix("include/") || KernelSources.areBuilt(file.path) || file.status == .modified && isOfOne
    }

    /// Puts what was built into a checkout, for make to go on from.
    package static func put(_ build: FilePath, into checkout: FilePath) throws {
        let target = checkout.appending("build")
        try Files.copyTree(build, to: target)
        try Worktree.handOver(target)
    }

    /// Keeps what a tree was built to.
    func keep(_ checkout: FilePath, as tree: String) async throws {
        let target = place(tree)
        if Files.exists(target) { return }
        // In the checkout, with which it goes whatever happens.
        let draft = checkout.appending(".kept")
        try Files.removeTree(draft)
        try Files.copyTree(checkout.appending("build"), to: draft)
        _ = try Files.renameNew(draft, to: target)
        let log = try await workspace.git.run("log", "--first-parent", "--max-count=\(Self.kept)", "--format=%T", "main")
        let names = Set(log.split(separator: "\n").map { "build-\($0)" } + ["build-\(tree)"])
        // Somebody else may be about to remove the same, or have it.
        for name in try Files.list(workspace.cache) where name.hasPrefix("build-") && !names.contains(name) {
            try? Files.removeTree(workspace.cache.appending(name))
        }
    }
}
