import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The workspace's own checkout follows main, and never over somebody's work.
@Suite struct CheckoutTests {
    private let directory: TemporaryDirectory
    private let workspace: Workspace
    private let start: String

    init() async throws {
        directory = try TemporaryDirectory()
        workspace = try await KernelTree.workspace(in: directory)
        start = try await workspace.main()
        // A kill between moving main and the checkout, twice.
        let one = try await workspace.commit(["boot/entry.asm": "cli\nhlt\n", "mm/frames.c": "int f;\n"], on: start)
        try await workspace.moveMain(to: one)
        try await workspace.moveMain(to: workspace.commit(["boot/Makefile": nil], on: one))
    }

    private func files() throws -> [String: String] { try directory.contents(of: "workspace", without: [".git", ".auton"]) }

    @Test func comesUpToMainAfterAKill() async throws {
        try await workspace.updateCheckout()
        #expect(try await workspace.git.run("status", "--porcelain") == "")
        #expect(try files()["mm/frames.c"] == "int f;\n")
        #expect(try files()["boot/Makefile"] == nil)
        let before = try files()
        try await workspace.updateCheckout()
        #expect(try files() == before)
    }

    @Test(
        arguments: [
            ["boot/entry.asm": "mine\n"], ["spec/boot.md": "mine\n"], ["README.md": nil],
            ["mm/frames.c": "mine, not yet in git\n"],
        ] as [[String: String?]])
    func localChangesAreRefusedAndUntouched(_ change: [String: String?]) async throws {
        for (name, text) in change {
            if let text {
                try directory.write("workspace/\(name)", text)
            } else {
                try Files.removeTree(directory["workspace/\(name)"])
            }
        }
        let before = try files()
        let error = await failure { try await workspace.updateCheckout() }
        #expect(error?.status == .tryAgain)
        #expect(error?.what.contains("local changes") == true)
        #expect(error?.what.contains(change.keys.first!) == true)
        #expect(try files() == before)
    }

    @Test func stagedChangesAreRefusedAndUntouched() async throws {
        try directory.write("workspace/boot/mine.asm", "mine\n")
        try await workspace.git.run("add", "boot/mine.asm")
        let before = try files()
        let error = await failure { try await workspace.updateCheckout() }
        #expect(error?.status == .tryAgain)
        #expect(error?.what.contains("local changes in its index") == true)
        #expect(try files() == before)
        #expect(try await workspace.git.run("ls-files", "boot/mine.asm") == "boot/mine.asm")
    }

    @Test func filesThatGitDoesNotKnowAreNoChanges() async throws {
        try directory.write("workspace/notes.txt", "mine\n")
        try directory.write("workspace/build/kernel.elf", "built")
        try await workspace.updateCheckout()
        #expect(try files()["notes.txt"] == "mine\n")
    }

    @Test func aTouchedFileIsNotAChangedOne() async throws {
        try directory.write("workspace/README.md", KernelTree.protected["README.md"]!)
        try await workspace.updateCheckout()
        #expect(try files()["mm/frames.c"] != nil)
    }

    @Test func findsTheCommitOfATree() async throws {
        #expect(try await workspace.commitOnMain(withTree: workspace.git.tree(of: start)) == start)
        let aside = try await workspace.commit(["boot/aside.asm": "nop\n"], on: start)
        #expect(try await workspace.commitOnMain(withTree: workspace.git.tree(of: aside)) == nil)
    }
}
