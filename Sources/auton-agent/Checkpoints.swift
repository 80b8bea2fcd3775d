import AutonKit
import SystemPackage

/// What an attempt's work tree was after each turn's calls: an attempt that is killed goes on from there, and neither its builds nor its
/// experiments are made again.
///
/// Trees by refs of their own, so that no collection of garbage takes them. What git is to ignore is not in them, nor what
/// a command left elsewhere in the sandbox.
struct Checkpoints {
    let git: Git
    /// The attempt.
    let name: String

    private var place: String { "refs/auton/attempt/\(name)" }
    private var directory: FilePath { git.directory.appending(place) }

    /// Keeps what is in the worktree after the calls of a turn, before the record has their results.
    func keep(_ worktree: Worktree, after turn: Int) async throws {
        try await git.run("update-ref", "\(place)/\(turn)", worktree.writeTree())
    }

    /// Makes the worktree what it was after the calls of the last turn up to `turn` for which that was kept.
    ///
    /// - Returns: that turn; 0 if there is none, and nothing is done.
    func restore(_ worktree: Worktree, upTo turn: Int) async throws -> Int {
        let refs = try await git.run("for-each-ref", "--format=%(refname:lstrip=4)", place)
        guard let last = refs.split(separator: "\n").compactMap({ Int($0) }).filter({ $0 <= turn }).max() else { return 0 }
        try await worktree.git.run("read-tree", "--reset", "-u", "\(place)/\(last)")
        try Worktree.handOver(worktree.root)
        return last
    }

    /// Removes git's locks that a kill left on them. To be called with the attempt's lock held.
    func unlock() async throws {
        let locks = try Files.list(directory).filter { $0.hasSuffix(".lock") }
        try await git.removeLocks(locks.map { "\(place)/\($0)" })
    }

    /// Forgets them all.
    ///
    /// Their files are removed, which are this attempt's alone. Git would lock the packed refs too, which are everybody's: nobody could tell
    /// there what a kill left from a lock that is held. What a user has packed stays, and does no harm.
    func remove() throws { try Files.removeTree(directory) }
}
