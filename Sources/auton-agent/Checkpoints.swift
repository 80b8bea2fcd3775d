import AutonKit

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

    /// Forgets them all.
    func remove() async throws {
        let refs = try await git.run("for-each-ref", "--format=delete %(refname)", place)
        if !refs.isEmpty { try await git.run("update-ref", "--stdin", input: refs + "\n") }
    }
}
