import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Nothing in a worktree can make git execute anything, leave the worktree, or stop the program.
@Suite struct HostileWorktreeTests {
    private let directory: TemporaryDirectory
    private let workspace: Workspace
    private let main: String
    private let tree: Worktree

    init() async throws {
        directory = try TemporaryDirectory()
        workspace = try await KernelTree.workspace(in: directory)
        main = try await workspace.main()
        tree = try await workspace.worktree("one", commit: main)
    }

    private var marker: FilePath { directory["executed"] }
    private var script: String { "#!/bin/sh\ntouch \(marker)\ncat\n" }

    private func plant(_ name: String, _ text: String, executable: Bool = false) throws {
        let path = tree.root.appending(name)
        try Files.createDirectories(path.removingLastComponent())
        try Files.write(path, Array(text.utf8), sync: false)
        if executable { chmod(path.string, 0o755) }
    }

    /// What the worktree adds to main, as `mode path`.
    private func added() async throws -> [String] {
        let written = try await tree.writeTree()
        return try await workspace.git.run("diff-tree", "-r", main, written).split(separator: "\n").map { line in
            let fields = line.split(whereSeparator: \.isWhitespace)
            return "\(fields[1]) \(fields[5])"
        }
    }

    @Test func aLinkOutIsRecordedAndNotFollowed() async throws {
        symlink("/etc/passwd", tree.root.appending("boot/secret").string)
        symlink("/etc", tree.root.appending("etc").string)
        #expect(try await added() == ["120000 boot/secret", "120000 etc"])
        let written = try await tree.writeTree()
        #expect(try await workspace.git.run("cat-file", "blob", "\(written):boot/secret") == "/etc/passwd")
    }

    /// Checked out, a link is a plain file with the target as its text, so that nothing leads out of the next worktree.
    @Test func aRecordedLinkIsCheckedOutAsText() async throws {
        symlink("/etc/passwd", tree.root.appending("boot/secret").string)
        let commit = try await workspace.git.run("commit-tree", tree.writeTree(), input: "hostile")
        let next = try await workspace.worktree("two", commit: commit)
        #expect(Files.type(of: next.root.appending("boot/secret")) == S_IFREG)
        #expect(try Files.readText(next.root.appending("boot/secret")) == "/etc/passwd")
    }

    @Test(arguments: ["", "boot/"])
    func plantedRepositoriesExecuteNothing(_ place: String) async throws {
        let config =
            "[core]\n\tfsmonitor = \(tree.root)/evil\n\thooksPath = \(tree.root)\n\tsshCommand = \(tree.root)/evil\n"
            + "[filter \"evil\"]\n\tclean = \(tree.root)/evil\n\tsmudge = \(tree.root)/evil\n\tprocess = \(tree.root)/evil\n"
            + "[diff \"evil\"]\n\tcommand = \(tree.root)/evil\n\ttextconv = \(tree.root)/evil\n"
        try plant("evil", script, executable: true)
        for hook in ["pre-commit", "post-index-change", "post-checkout", "reference-transaction"] {
            try plant(hook, script, executable: true)
            try plant("hooks/\(hook)", script, executable: true)
            try plant("\(place).git/hooks/\(hook)", script, executable: true)
        }
        try plant(".gitattributes", "* filter=evil diff=evil merge=evil\n")
        try plant("\(place).git/config", config)
        try plant("\(place).git/HEAD", "ref: refs/heads/main\n")
        try plant("\(place).git/info/attributes", "* filter=evil diff=evil\n")
        try Files.createDirectories(tree.root.appending("\(place).git/objects"))
        try Files.createDirectories(tree.root.appending("\(place).git/refs/heads"))
        try plant("boot/entry.asm", "changed\n")
        let commit = try await workspace.git.run("commit-tree", tree.writeTree(), "-p", main, input: "hostile")
        let next = try await workspace.worktree("two", commit: commit)
        #expect(try Files.readText(next.root.appending("boot/entry.asm")) == "changed\n")
        _ = try await workspace.git.run("diff", "--no-ext-diff", "--no-textconv", main, commit)
        try await workspace.moveMain(to: workspace.mergeTree(main, commit).tree == workspace.git.tree(of: commit) ? commit : main)
        try await workspace.updateCheckout()
        #expect(!Files.exists(marker))
        let names = try await workspace.git.run("ls-tree", "-r", "--name-only", commit).split(separator: "\n")
        #expect(names.allSatisfy { !$0.contains(".git/") } && names.contains("evil"))
    }

    @Test func aPlantedGitFileLeadsNowhere() async throws {
        try plant(".git", "gitdir: \(directory.path)/elsewhere\n")
        try plant("boot/.git", "gitdir: /etc\n")
        try plant("boot/new.asm", "nop\n")
        #expect(try await added() == ["100644 boot/new.asm"])
    }

    /// A model that wants to see its own changes may well run `git init`.
    @Test(arguments: [".", "boot", "new/sub"])
    func aRepositoryInsideIsNotOne(_ place: String) async throws {
        let inside = tree.root.appending(place)
        try Files.createDirectories(inside)
        try plant("\(place)/more.asm", "nop\n")
        #expect(try await Command("git", ["init", "--quiet", inside.string]).run().succeeded)
        #expect(try await added().map { $0.hasSuffix("more.asm") } == [true])
    }

    @Test func aRepositoryInsideWithCommitsIsNoSubmodule() async throws {
        let script =
            "mkdir sub && cd sub && git init -q && echo x > file && git add . && git -c user.name=a -c user.email=b commit -qm x"
        var command = Command("sh", ["-c", script])
        command.directory = tree.root
        #expect(try await command.run().succeeded)
        #expect(try await added() == ["100644 sub/file"])
    }

    @Test func whatGitCannotStoreIsLeftOut() async throws {
        try Files.removeTree(tree.root.appending("boot/entry.asm"))
        mkfifo(tree.root.appending("boot/entry.asm").string, 0o644)
        mkfifo(tree.root.appending("boot/pipe").string, 0o644)
        try plant("boot/.GIT/config", "[core]\n")
        try plant("boot/git~1", "short name\n")
        try plant("boot/new.asm", "nop\n")
        symlink("boot/new.asm", tree.root.appending(".gitmodules").string)
        let found = try await added()
        #expect(found == ["000000 boot/entry.asm", "100644 boot/git~1", "100644 boot/new.asm"])
    }

    /// Git stores it; that it does not land is the gate's affair.
    @Test func aNameThatIsNotUTF8StopsNobody() async throws {
        let name = tree.root.appending("boot").string.utf8.map { CChar(bitPattern: $0) } + [0x2f, CChar(bitPattern: 0xff), 0]
        #expect(close(creat(name, 0o644)) == 0)
        #expect(try await added() == ["100644 boot/\u{fffd}"])
        try Worktree.handOver(tree.root)
        try tree.remove()
        #expect(!Files.exists(tree.root))
    }

    @Test func lockedFilesAndDirectoriesAreUnlocked() async throws {
        try plant("boot/locked/new.asm", "nop\n")
        try plant("boot/unreadable.asm", "nop\n")
        chmod(tree.root.appending("boot/unreadable.asm").string, 0)
        chmod(tree.root.appending("boot/locked").string, 0)
        #expect(try await added() == ["100644 boot/locked/new.asm", "100644 boot/unreadable.asm"])
        chmod(tree.root.appending("boot/locked").string, 0o500)
        chmod(tree.root.string, 0o500)
        try tree.remove()
        #expect(!Files.exists(tree.root))
    }

    @Test func aTreeTooDeepToBeNamed() async throws {
        let sandbox = SandboxSession(Sandbox(tree.root))
        let script = "i=0; while [ $i -lt 900 ]; do mkdir deep-deep && cd deep-deep || exit 1; i=$((i+1)); done; echo nop >x.asm"
        _ = try await sandbox.run("sh", ["-c", script])
        await sandbox.leave()
        try plant("boot/new.asm", "nop\n")
        #expect(try await added() == ["100644 boot/new.asm"])
        _ = try await sandbox.run("sh", ["-c", script])
        await sandbox.leave()
        try tree.remove()
        #expect(try Files.list(tree.root.removingLastComponent()).filter { $0.hasPrefix("one") } == [])
    }
}
