import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct WorktreeTests {
    private let directory: TemporaryDirectory
    private let workspace: Workspace
    private let main: String

    init() async throws {
        directory = try TemporaryDirectory()
        workspace = try await KernelTree.workspace(in: directory)
        main = try await workspace.main()
    }

    @Test func isACheckoutOfItsOwn() async throws {
        let tree = try await workspace.worktree("boot-001.1", commit: main)
        #expect(try Files.readText(tree.root.appending("boot/entry.asm")) == "hlt\n")
        #expect(!Files.exists(tree.root.appending(".git")))
        #expect(try await tree.writeTree() == workspace.git.tree(of: main))
    }

    @Test func whatWasThereBeforeIsGone() async throws {
        let first = try await workspace.worktree("boot-001.1", commit: main)
        try Files.write(first.root.appending("leftover"), [], sync: false)
        try Files.write(FilePath(first.root.string + ".index.lock"), [], sync: false)
        let second = try await workspace.worktree("boot-001.1", commit: main)
        #expect(try await second.writeTree() == workspace.git.tree(of: main))
    }

    @Test func whatIsAnotherNow() async throws {
        let tree = try await workspace.worktree("one", commit: main)
        try Files.createDirectories(tree.root.appending("build"))
        try Files.write(tree.root.appending("build/kernel.elf"), [65], sync: false)
        #expect(try await tree.changed() == [])
        try Files.write(tree.root.appending("boot/entry.asm"), Array("ret\n".utf8), sync: false)
        try Files.removeTree(tree.root.appending("include"))
        #expect(try await tree.changed() == ["boot/entry.asm", "include/spec/x.h"])
    }

    @Test func treesDoNotMeet() async throws {
        let one = try await workspace.worktree("one", commit: main), two = try await workspace.worktree("two", commit: main)
        try Files.write(one.root.appending("boot/new.asm"), Array("nop\n".utf8), sync: false)
        #expect(try await one.writeTree() != workspace.git.tree(of: main))
        #expect(try await two.writeTree() == workspace.git.tree(of: main))
        try one.remove()
        #expect(try Files.list(workspace.root.appending(".auton/worktree")) == ["two", "two.index"])
    }

    @Test func writtenIsWhatIsThereButNotBuildOutput() async throws {
        let tree = try await workspace.worktree("one", commit: main)
        for name in ["boot/a.c", "build/kernel.elf", "lib/build/x.c"] {
            try Files.createDirectories(tree.root.appending(name).removingLastComponent())
            try Files.write(tree.root.appending(name), [65], sync: false)
        }
        try Files.removeTree(tree.root.appending("include"))
        let names = try await workspace.git.run("diff-tree", "-r", "--name-status", main, tree.writeTree())
        #expect(names == "A\tboot/a.c\nD\tinclude/spec/x.h\nA\tlib/build/x.c")
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives files away"))
    func belongsToTheSandboxUser() async throws {
        let tree = try await workspace.worktree("one", commit: main)
        var status = stat()
        for path in [tree.root, tree.root.appending("boot/entry.asm")] {
            #expect(lstat(path.string, &status) == 0 && status.st_uid == Sandbox.user && status.st_gid == Sandbox.user)
        }
        lstat(workspace.root.appending("boot/entry.asm").string, &status)
        #expect(status.st_uid == 0)
    }
}
