import Glibc
import SystemPackage

/// A disposable checkout of one commit, with an index of its own outside it.
///
/// It is a plain directory, not one that `git worktree add` made: with no `.git` file inside there is none to be
/// replaced by what runs there, and making it takes 5 ms in place of 38.
package struct Worktree: Sendable {
    package let root: FilePath
    package let git: Git

    /// Checks `commit` out into an empty directory at `root`; what lay there before is removed.
    package static func create(at root: FilePath, commit: String, repository: FilePath) async throws -> Worktree {
        let index = root.appending(".index", toLastComponent: true)
        let tree = Worktree(root: root, git: Git(directory: repository, workTree: root, index: index))
        try tree.remove()
        do {
            try Files.createDirectories(root)
            try await tree.git.run("read-tree", "--reset", "-u", commit)
            try handOver(root)
        } catch {
            try? tree.remove()
            throw error
        }
        return tree
    }

    /// Gives what a sandboxed command must be able to change to the user that it runs as.
    package static func handOver(_ path: FilePath) throws {
        guard Sandbox.changesUser else { return }
        func handOver(_ place: inout TreePlace) throws {
            guard lchown(place.name, Sandbox.user, Sandbox.user) == 0 else {
                throw AutonError(.badConfiguration, "cannot change owner: \(Errno(rawValue: errno))", at: place.path.string)
            }
            if place.type == S_IFDIR { try place.forEachChild { inside, _ in try handOver(&inside) } }
        }
        var place = try TreePlace(path)
        try handOver(&place)
    }

    /// The tree of what is in the directory now, ignored files left out.
    package func writeTree() async throws -> String {
        try Self.removeUnstorable(root)
        try await git.run("add", "--all", "--", ".")
        return try await git.run("write-tree")
    }

    /// Files of the checked out commit that are not as they were, or gone.
    package func changed() async throws -> [String] {
        // Who owns them is another one now, so that all are read once.
        let result = try await git.run("diff", "--name-only", "--no-ext-diff", "--no-textconv", "-z")
        return result.split(separator: "\0").map(String.init)
    }

    /// Removes what git would take for a repository inside this one, which would become a submodule, and what it
    /// refuses to store, and unlocks the rest: whoever works in the directory must not be able to make it fail.
    private static func removeUnstorable(_ directory: FilePath) throws {
        func remove(in place: inout TreePlace) throws {
            try place.forEachChild { inside, name in
                switch inside.type {
                case _ where strcasecmp(name, ".git") == 0: try Files.removeTree(inside.path)
                case S_IFLNK: if strcasecmp(name, ".gitmodules") == 0 { try Files.removeTree(inside.path) }
                case S_IFDIR where !inside.isLong:
                    inside.unlock(to: 0o755)
                    try remove(in: &inside)
                case S_IFREG: if access(inside.name, R_OK) != 0 { chmod(inside.name, 0o644) }
                default: try Files.removeTree(inside.path)
                }
            }
        }
        var place = try TreePlace(directory)
        try remove(in: &place)
    }

    package func remove() throws {
        try Files.removeTree(root)
        for suffix in [".index", ".index.lock"] { try Files.removeTree(root.appending(suffix, toLastComponent: true)) }
    }
}
