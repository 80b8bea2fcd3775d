import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct WorkspaceTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(arguments: [Workspace.Origin.scaffold, .kernel])
    func startsFromTheProtectedPartOrFromAll(_ origin: Workspace.Origin) async throws {
        let workspace = try await KernelTree.workspace(in: directory, origin: origin)
        let expected = KernelTree.protected.merging(origin == .kernel ? KernelTree.written : [:]) { first, _ in first }
        #expect(try directory.contents(of: "workspace", without: [".git"]) == expected)
        #expect(
            try await Set(workspace.git.run("ls-tree", "-r", "--name-only", "main").split(separator: "\n").map(String.init))
                == Set(expected.keys))
        #expect(try await workspace.git.run("status", "--porcelain") == "")
        #expect(!Files.exists(directory["workspace.new"]))
    }

    @Test func isMadeOnce() async throws {
        let workspace = try await KernelTree.workspace(in: directory)
        let main = try await workspace.main()
        try directory.write("kernel/boot/later.asm", "nop\n")
        let again = try await Workspace.open(directory["workspace"], from: directory["kernel"], origin: .scaffold)
        #expect(try await again.main() == main)
    }

    /// A kill while it is made leaves a draft that nobody takes for a workspace.
    @Test func aDraftOfAKilledRunIsReplaced() async throws {
        try directory.write("workspace.new/.git/HEAD", "ref: refs/heads/main\n")
        try directory.write("workspace.new/spec/half", "")
        let workspace = try await KernelTree.workspace(in: directory, origin: .scaffold)
        #expect(try await workspace.git.run("ls-tree", "-r", "--name-only", "main").contains("half") == false)
        #expect(!Files.exists(directory["workspace.new"]))
    }

    @Test func withoutAKernelTreeThereIsNone() async throws {
        let error = await failure { try await Workspace.open(directory["workspace"], from: directory["kernel"], origin: .kernel) }
        #expect(error?.status == .badConfiguration)
        #expect(error?.description == "no kernel tree: \(directory.path)/kernel")
        #expect(!Files.exists(directory["workspace"]))
        #expect(await failure { try Workspace(directory["workspace"]) }?.status == .badConfiguration)
    }

    @Test func agentTreeLeavesTheProtectedPartOut() async throws {
        let workspace = try await KernelTree.workspace(in: directory)
        let main = try await workspace.main()
        let tree = try await workspace.agentTree(of: main)
        let names = try await workspace.git.run("ls-tree", "-r", "--name-only", tree).split(separator: "\n").map(String.init)
        #expect(Set(names) == Set(KernelTree.written.keys))

        let userSide = try await workspace.commit(
            ["spec/boot.md": "Boot prints twice.\n", "kernel.ld": nil, "harness/new.c": ""], on: main)
        #expect(try await workspace.agentTree(of: userSide) == tree)
        let agentSide = try await workspace.commit(["boot/Makefile": "# changed\n"], on: main)
        #expect(try await workspace.agentTree(of: agentSide) != tree)
        #expect(try await workspace.git.run("status", "--porcelain") == "", "the checkout's own index is as it was")
    }

    @Test(arguments: [
        ("spec/boot.md", true), ("harness/x", true), ("Makefile", true), ("kernel.ld", true), ("README.md", true),
        ("boot/Makefile", false), ("spec.md", false), ("include/spec/x.h", false), ("tests/boot.c", false), ("Makefile2", false),
    ])
    func protectedIsTheUsersSide(path: String, expected: Bool) {
        #expect(Workspace.isProtected(path) == expected)
    }

    @Test func sweepRemovesWhatKilledRunsLeft() async throws {
        let workspace = try await KernelTree.workspace(in: directory)
        let main = try await workspace.main()
        _ = try await workspace.worktree("dead", commit: main)
        let alive = try await workspace.worktree("alive", commit: main)
        // Killed after removing the tree, before removing its index.
        let half = try await workspace.worktree("half", commit: main)
        try Files.removeTree(half.root)
        let lock = try workspace.lock("alive")
        for name in ["index.lock", "HEAD.lock", "refs/heads/main.lock"] { try directory.write("workspace/.git/\(name)", "") }
        try await workspace.sweep()
        #expect(lock != nil && Files.exists(alive.root.appending("boot/entry.asm")))
        #expect(try Files.list(directory["workspace/.auton/worktree"]) == ["alive", "alive.index"])
        let next = try await workspace.commit(["boot/a.asm": "nop\n"], on: main)
        try await workspace.moveMain(to: next)
        try await workspace.updateCheckout()
    }

    @Test func mergesLeaveConflictMarks() async throws {
        let workspace = try await KernelTree.workspace(in: directory)
        let main = try await workspace.main()
        let one = try await workspace.commit(["boot/entry.asm": "nop\n", "boot/é.asm": "nop\n"], on: main)
        let two = try await workspace.commit(["boot/entry.asm": "cli\n", "boot/é.asm": "cli\n"], on: main)
        let clean = try await workspace.mergeTree(main, one)
        #expect(try await clean.tree == workspace.git.tree(of: one))
        #expect(clean.conflicts == [] && clean.messages == [])
        let merged = try await workspace.mergeTree(one, two)
        #expect(merged.conflicts == ["boot/entry.asm", "boot/é.asm"])
        #expect(try await workspace.git.run("cat-file", "blob", "\(merged.tree):boot/entry.asm").hasPrefix("<<<<<<< "))
        #expect(await failure { try await workspace.mergeTree(one, "nothing") }?.status == .bug)
    }
}
