import AutonMessages
import SystemPackage

/// The agents' repository: its root is the kernel tree, `main` is checked out in it, and every attempt has a branch
/// `task/<id>`. What AUTON needs beside it lies in `.auton/`, which git ignores.
package struct Workspace: Sendable {
    package let root: FilePath
    package let git: Git

    /// Written by the user alone; no role may change it. Directories end in a slash.
    package static let protectedPaths = ["spec/", "acceptance/", "harness/", "Makefile", "kernel.ld", "README.md"]

    package static func isProtected(_ path: String) -> Bool {
        protectedPaths.contains { $0.hasSuffix("/") ? path.hasPrefix($0) : path == $0 }
    }

    /// Opens the workspace at `root`.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if there is none, or something else.
    package init(_ root: FilePath) throws {
        self.root = Files.absolute(root)
        // Ours is marked; a clone of one has the harness.
        let excluded = try? Files.read(self.root.appending(".git/info/exclude"))
        guard Files.isDirectory(self.root.appending(".git")),
            excluded.map({ String(decoding: $0, as: UTF8.self).contains("/.auton/\n") }) == true
                || Files.isDirectory(self.root.appending("harness"))
        else {
            throw AutonError(
                .badConfiguration,
                Files.exists(self.root)
                    ? "not a workspace: no repository with a kernel tree" : "no workspace (auton-plan makes it)",
                at: self.root.string)
        }
        git = Git(directory: self.root.appending(".git"), workTree: self.root)
    }

    /// What a new workspace starts from.
    package enum Origin: Sendable {
        /// The protected part of a kernel tree alone.
        case scaffold
        /// All of it.
        case kernel
    }

    /// Opens the workspace at `root`, making it first from the kernel tree `source` if there is none.
    package static func open(_ root: FilePath, from source: FilePath, origin: Origin) async throws -> Workspace {
        let root = Files.absolute(root)
        if Files.exists(root) { return try Workspace(root) }
        let names = try Files.list(source).filter { name in
            name != "build" && (origin == .kernel || isProtected(name) || isProtected(name + "/"))
        }
        guard !names.isEmpty else { throw AutonError(.badConfiguration, "no kernel tree", at: source.string) }
        // Made beside its place and renamed, so that there is a whole workspace or none.
        let draft = root.appending(".new", toLastComponent: true)
        try Files.removeTree(draft)
        try Files.createDirectories(draft)
        let git = Git(directory: draft.appending(".git"), workTree: draft)
        try await git.run("init", "--quiet", "--initial-branch=main", draft.string)
        try Files.write(draft.appending(".git/info/exclude"), Array("/build/\n/.auton/\n".utf8), sync: true)
        for name in names { try Files.copyTree(source.appending(name), to: draft.appending(name)) }
        try await git.run("add", "--all")
        try await git.run("commit", "--quiet", "--message", "Start from the \(origin == .scaffold ? "scaffold" : "kernel")")
        _ = try Files.renameNew(draft, to: root)
        return try Workspace(root)
    }

    package func main() async throws -> String {
        guard let commit = try await git.commit("refs/heads/main") else {
            throw AutonError(.badConfiguration, "the workspace has no branch main", at: root.string)
        }
        return commit
    }

    package static func branch(_ id: AttemptID) -> String { "task/\(id)" }

    /// A fresh checkout for `purpose` (an attempt, a gate); the name is unique among those in use at once.
    package func worktree(_ purpose: String, commit: String) async throws -> Worktree {
        try await Worktree.create(at: place(of: purpose), commit: commit, repository: git.directory)
    }

    /// Where that checkout is.
    package func place(of purpose: String) -> FilePath { root.appending(".auton/worktree").appending(purpose) }

    /// The place of results that can be made again from what they are keyed by.
    package var cache: FilePath { root.appending(".auton/cache") }

    /// Held by whoever works on `purpose`, nil if another process holds it.
    package func lock(_ purpose: String) throws -> FileLock? {
        try FileLock(trying: root.appending(".auton/lock").appending(purpose))
    }

    /// The purposes that somebody works on; none if there is no workspace.
    package static func held(in root: FilePath) -> Set<String> { FileLock.held(in: root.appending(".auton/lock")) }

    /// Held to move main.
    package func mergeLock() throws -> FileLock {
        try FileLock(root.appending(".auton/lock/merge"))
    }

    /// The commit on main's first-parent line that has `tree`, newest first; nil if main has not been there.
    package func commitOnMain(withTree tree: String) async throws -> String? {
        try await git.run("log", "--first-parent", "--format=%H %T", "main").split(separator: "\n")
            .first { $0.hasSuffix(" " + tree) }.map { String($0.prefix { $0 != " " }) }
    }

    /// The merge on main's first-parent line that brought `candidate`, with main's commit before it.
    package func merge(of candidate: String) async throws -> (commit: String, tree: String, base: String)? {
        let log = try await git.run("log", "--first-parent", "--merges", "--format=%H %T %P", "main")
        guard let line = log.split(separator: "\n").first(where: { $0.hasSuffix(" " + candidate) }) else { return nil }
        let fields = line.split(separator: " ").map(String.init)
        return (fields[0], fields[1], fields[2])
    }

    /// The tree of a commit (or tree) without what is protected: the part that agents wrote, which is what a recording is
    /// known by. What is protected are whole entries of the root.
    package func agentTree(of commit: String) async throws -> String {
        let entries = try await git.run("ls-tree", "-z", commit).split(separator: "\0").filter { entry in
            let name = entry.drop { $0 != "\t" }.dropFirst()
            return !Self.isProtected(String(name)) && !Self.isProtected(name + "/")
        }
        return try await git.run("mktree", "-z", input: entries.map { $0 + "\0" }.joined())
    }

    /// Removes what killed runs left: worktrees nobody works in, and git's lock files.
    ///
    /// To be called with the merge lock held, since it removes main's lock file.
    package func sweep() async throws {
        let worktrees = root.appending(".auton/worktree")
        let purposes = try Files.list(worktrees).map { name in
            [".index", ".index.lock"].first(where: name.hasSuffix).map { String(name.dropLast($0.count)) } ?? name
        }
        for name in Set(purposes) {
            guard let lock = try lock(name) else { continue }
            defer { lock.release() }
            try Worktree(root: worktrees.appending(name), git: git).remove()
        }
        try await git.removeLocks(["index.lock", "HEAD.lock", "refs/heads/main.lock"])
    }

    /// Brings the workspace's own checkout up to main.
    ///
    /// The checkout of a run that was killed between moving main and this is one of main's earlier trees, unchanged;
    /// anything else is somebody's work.
    ///
    /// - Throws: `AutonError` with `.tryAgain` if there are local changes; nothing is touched then.
    package func updateCheckout() async throws {
        let main = try await main()
        let head = try await git.result(["symbolic-ref", "--quiet", "--short", "HEAD"])
        guard head.line == "main" else {
            let what = head.succeeded ? head.line : "a commit and no branch"
            throw AutonError(.tryAgain, "the workspace has \(what) checked out; git -C \(root) checkout main", at: root.string)
        }
        let index = try await git.result(["write-tree"])
        guard index.succeeded, let old = try await commitOnMain(withTree: index.line) else {
            throw AutonError(
                .tryAgain, "the workspace has local changes in its index; commit them elsewhere or reset them", at: root.string)
        }
        _ = try await git.result(["update-index", "-q", "--refresh"])
        let changed = try await git.run("diff-files", "--name-only", "--no-ext-diff")
        guard changed.isEmpty else {
            let names = changed.split(separator: "\n").prefix(3).joined(separator: ", ")
            throw AutonError(
                .tryAgain, "the workspace has local changes (\(names)); stash or commit them elsewhere", at: root.string)
        }
        if old == main { return }
        let update = try await git.result(["read-tree", "-m", "-u", old, main])
        guard update.succeeded else {
            let names = update.errors.text.split(separator: "\n").first ?? ""
            throw AutonError(
                .tryAgain, "local changes are in the way of the workspace's checkout (\(names)); move them elsewhere",
                at: root.string)
        }
    }
}

extension Workspace {
    /// Two commits merged, without touching a branch or a worktree.
    package struct MergedTree: Sendable, Equatable {
        /// Where there are conflicts it holds the conflict marks.
        package var tree: String
        package var conflicts: [String]
        /// What git says of the conflicts.
        package var messages: [String]
    }

    package func mergeTree(_ ours: String, _ theirs: String) async throws -> MergedTree {
        let result = try await git.result(["merge-tree", "--write-tree", "--name-only", "-z", ours, theirs])
        // Sections by NUL: the tree, the names of conflicted files, an empty one, then git's messages.
        let fields = result.output.text.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
        guard let tree = fields.first, tree.count == 40, result.succeeded || result.ending == .exited(1) else {
            throw git.failure(of: "merge-tree", result)
        }
        let conflicts = fields.dropFirst().prefix { !$0.isEmpty }
        let messages = fields.filter { $0.hasPrefix("CONFLICT") }.map {
            String($0.drop { $0.isNewline }.prefix { !$0.isNewline })
        }
        return MergedTree(tree: tree, conflicts: Array(conflicts), messages: messages)
    }
}
