import AutonKit
import SystemPackage
import TestSupport
import Testing

@Suite struct GitTests {
    private let directory: TemporaryDirectory
    private let git: Git
    private let commits: [String]

    init() async throws {
        directory = try TemporaryDirectory()
        try Files.createDirectories(directory["work"])
        git = Git(directory: directory["work/.git"], workTree: directory["work"])
        try await git.run("init", "--quiet", "--initial-branch=main")
        let tree = try await git.run("write-tree")
        commits = [try await git.run("commit-tree", tree, input: "one"), try await git.run("commit-tree", tree, input: "two")]
    }

    @Test func aBranchIsMovedByCompareAndSwap() async throws {
        #expect(try await git.moveBranch("b", to: commits[0], from: ""))
        #expect(try await !git.moveBranch("b", to: commits[1], from: ""), "it exists")
        #expect(try await !git.moveBranch("b", to: commits[0], from: commits[1]), "it stands elsewhere")
        #expect(try await git.commit("refs/heads/b") == commits[0])
        #expect(try await git.moveBranch("b", to: commits[1], from: commits[0]))
        #expect(try await git.commit("refs/heads/b") == commits[1])
    }

    @Test func ofManyMoversOneWins() async throws {
        #expect(try await git.moveBranch("b", to: commits[0], from: ""))
        let tree = try await git.tree(of: commits[0])
        var targets: [String] = []
        for number in 1...6 { targets.append(try await git.run("commit-tree", tree, input: "\(number)")) }
        let winners = try await withThrowingTaskGroup(of: String?.self) { group in
            for target in targets {
                group.addTask { [git, commits] in
                    // One that meets the other's lock file is told to try again; it has not moved the branch.
                    do { return try await git.moveBranch("b", to: target, from: commits[0]) ? target : nil } catch is AutonError {
                        return nil
                    }
                }
            }
            return try await group.reduce(into: [String]()) { $0 += $1.map { [$0] } ?? [] }
        }
        #expect(winners.count == 1)
        #expect(try await git.commit("b") == winners.first)
    }

    @Test func aLockThatIsHeldMeansTryAgain() async throws {
        #expect(try await git.moveBranch("b", to: commits[0], from: ""))
        try directory.write("work/.git/refs/heads/b.lock", "")
        let error = await failure { try await git.moveBranch("b", to: commits[1], from: commits[0]) }
        #expect(error?.status == .tryAgain)
        try directory.write("work/.git/index.lock", "")
        try directory.write("work/file", "x")
        #expect(await failure { try await git.run("add", "--all") }?.status == .tryAgain)
    }

    /// What a git left that was killed goes; one that has lost its parent comes to its end.
    @Test func onlyLocksOfTheDeadAreRemoved() async throws {
        for ref in ["alive", "dead"] { #expect(try await git.moveBranch(ref, to: commits[0], from: "")) }
        try directory.write("work/.git/refs/heads/dead.lock", "")
        let lock = directory["work/.git/refs/heads/alive.lock"]
        let script = """
            { printf 'start\nupdate refs/heads/alive \(commits[1])\nprepare\n'; until test -e go; do sleep 0.02; done; echo commit; } | git update-ref --stdin
            """
        async let alive = Program.run("sh", ["-c", script], in: directory["work"])
        while !Files.exists(lock) { try await Task.sleep(for: .milliseconds(5)) }
        async let removed: Void = git.removeLocks(["refs/heads/alive.lock", "refs/heads/dead.lock"])
        try await Task.sleep(for: .milliseconds(200))
        try directory.write("work/go", "")
        try await removed
        #expect(try await alive.status == 0)
        for ref in ["alive", "dead"] {
            #expect(try await git.moveBranch(ref, to: commits[0], from: ref == "alive" ? commits[1] : commits[0]))
        }
    }

    @Test func namesThatStandForNothingAreNil() async throws {
        #expect(try await git.commit("main") == nil)
        #expect(try await git.commit("--help") == nil)
        #expect(try await git.commit("") == nil)
        #expect(try await git.commit(git.tree(of: commits[0])) == nil, "a tree is no commit")
        #expect(await failure { try await git.tree(of: "nothing") }?.status == .bug)
    }

    @Test func ourOwnConfigurationHasNoSay() async throws {
        let lines = try await git.run("config", "--list", "--show-scope").split(separator: "\n")
        #expect(Set(lines.map { $0.prefix { $0 != "\t" } }) == ["local", "command"])
        #expect(try await git.run("log", "--format=%an <%ae>", commits[0]) == "AUTON <auton@localhost>")
    }
}
