import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

/// `auton-validate --diff-only` on repositories that are not ours.
@Suite struct DiffOnlyTests {
    private let place: Temporary

    init() throws { place = try Temporary() }

    private func run(_ arguments: String..., in directory: FilePath? = nil) async throws -> CommandResult {
        var command = Command(ValidateTests.program.string, ["--diff-only"] + arguments)
        command.directory = directory ?? place.path
        return try await command.run()
    }

    @discardableResult
    private func git(_ arguments: String..., in name: String = "repo") async throws -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "protocol.file.allow=always"]
        let result = try await Command("git", ["-C", place.path.appending(name).string] + identity + arguments).run()
        #expect(result.succeeded, "\(arguments): \(result.errors.text)")
        return result.line
    }

    /// Three commits: a good change, then a bad one.
    private func make(_ options: String...) async throws {
        try place.write(["repo/lib/a.c": "int a;\n"])
        _ = try await Command("git", ["init", "-q", "-b", "main", place.path.appending("repo").string] + options).run()
        try await commit()
        try place.write(["repo/lib/a.c": "int a;\nint b(void)\n{\n\treturn 1;\n}\n"])
        try await commit()
        try place.write(["repo/lib/a.c": "int a;\nint b(void)\n{\n\treturn inb(0x2f8);\n}\n"])
        try await commit()
    }

    private func commit() async throws {
        try await git("add", "--all")
        try await git("commit", "-q", "-m", "m")
    }

    @Test func twoCommits() async throws {
        try await make()
        let good = try await run("--repository", "repo", "main~2", "main~1")
        #expect(good.ending == .exited(0), "\(good.errors.text)")
        #expect(
            good.line.split(separator: "\n").map { $0.prefix(4) } == [
                "PASS", "SKIP", "PASS", "PASS", "PASS", "PASS", "PASS", "PASS", "PASS", "PASS", "PASS", "main",
            ])
        let bad = try await run("main~", "main", in: place.path.appending("repo/lib"))
        #expect(bad.ending == .exited(1))
        #expect(bad.output.text.contains("\nFAIL ports "))
        #expect(bad.output.text.contains("  lib/a.c: uses the port 0x2f8, which is the harness's (line 4)\nPASS disguise "))
        #expect(bad.line.hasSuffix("\nmain rejected"))
        // The other way round it is a change too.
        #expect(try await run("--repository", "repo", "main", "main~2").ending == .exited(0))
        #expect(try await run("--repository", "repo/.git", "--commit", "main").ending == .exited(1))
        #expect(try await run("--repository", "repo", "--commit", "main~1", "--base", "main~2").ending == .exited(0))
    }

    @Test func theVerdictHasTheChange() async throws {
        try await make()
        let result = try await run("--repository", "repo", "main~2", "main", "--json")
        let verdict = try Mailbox.decode(Verdict.self, from: result.output.bytes)
        #expect(verdict.commit == (try await git("rev-parse", "main")))
        #expect(verdict.tree == (try await git("rev-parse", "main^{tree}")))
        #expect(!verdict.accepted)
        let hunk = FileChange.Hunk(
            oldStart: 1, oldLines: 0, newStart: 2, newLines: 4, removed: [],
            added: ["int b(void)", "{", "\treturn inb(0x2f8);", "}"],
            linesLeftOut: 0)
        #expect(
            verdict.change
                == ChangeSummary(
                    base: try await git("rev-parse", "main~2"),
                    files: [
                        FileChange(
                            path: "lib/a.c", status: .modified, oldMode: "100644", newMode: "100644", added: 4, removed: 0,
                            functions: ["b"], hunks: [hunk], hunksLeftOut: 0)
                    ], filesLeftOut: 0))
    }

    @Test func theScope() async throws {
        try await make()
        try place.write(["task.json": "{\"task\": \"x\", \"paths\": [\"mm/\"]}", "none.json": "[]"])
        #expect(try await run("--repository", "repo", "main~2", "main~", "--paths", "lib/,mm/").ending == .exited(0))
        let directory = try await run("--repository", "repo", "main~2", "main~", "--paths", "lib")
        #expect(directory.ending == .exited(65))
        #expect(directory.errors.text.contains("a directory; for what is in it write lib/: lib"))
        let out = try await run("--repository", "repo", "main~2", "main~", "--task", "task.json")
        #expect(out.ending == .exited(1))
        #expect(out.output.text.contains("lib/a.c: not one of the task's paths (mm/)"))
        #expect(try await run("--repository", "repo", "main~2", "main~", "--task", "none.json").ending == .exited(65))
        #expect(try await run("--repository", "repo", "main~2", "main~", "--task", "absent.json").ending == .exited(65))
    }

    @Test(arguments: ["--object-format=sha1", "--object-format=sha256"]) func ofAnyHashAndBareOrLinked(format: String)
        async throws
    {
        try await make(format)
        _ = try await Command(
            "git", ["clone", "-q", "--bare", place.path.appending("repo").string, place.path.appending("bare").string]
        ).run()
        try await git("worktree", "add", "-q", "../linked", "main~")
        for name in ["repo", "bare", "linked", "linked/lib"] {
            #expect(try await run("--repository", name, "main~2", "main~").ending == .exited(0))
            #expect(try await run("--repository", name, "main~", "main").ending == .exited(1))
        }
    }

    /// Nothing of what the repository says is run, and nothing in it changes.
    @Test func aHostileRepository() async throws {
        try await make()
        let ran = place.path.appending("ran").string
        let repository = place.path.appending("repo/.git")
        try place.write([
            "repo/.git/info/attributes": "* diff=evil filter=evil -text binary\n",
            "repo/.git/hooks/post-checkout": "#!/bin/sh\ntouch \(ran)\n",
        ])
        let config = """
            [core]
            \tfsmonitor = touch \(ran)
            \tpager = touch \(ran)
            \thooksPath = \(repository)/hooks
            \tsshCommand = touch \(ran)
            [diff]
            \texternal = touch \(ran)
            [diff "evil"]
            \tcommand = touch \(ran)
            \ttextconv = touch \(ran)
            [filter "evil"]
            \tclean = touch \(ran)
            \tsmudge = touch \(ran)
            [extensions]
            \tpartialClone = evil
            [remote "evil"]
            \tpromisor = true
            \turl = ext::sh -c touch% \(ran)
            [protocol "ext"]
            \tallow = always
            [alias]
            \tdiff-tree = !touch \(ran)

            """
        let file = repository.appending("config")
        try Files.write(file, try Files.read(file) + Array(config.utf8), sync: false)
        // A commit whose file's contents are missing, as in a partial clone.
        let blob = try await git("rev-parse", "main:lib/a.c")
        try Files.removeTree(repository.appending("objects/\(blob.prefix(2))/\(blob.dropFirst(2))"))
        try Files.removeTree(FilePath(ran))
        let before = try await files(repository)
        #expect(try await run("--repository", "repo", "main~2", "main~").ending == .exited(0))
        #expect(
            try await error("--repository", "repo", "main~", "main")
                == "auton-validate: a partial clone without the files: DIR/repo/.git")
        #expect(!Files.exists(FilePath(ran)))
        #expect(try await files(repository) == before)
    }

    private func files(_ directory: FilePath) async throws -> String {
        try await Command("find", [directory.string, "-printf", "%p %s %T@\\n"]).run().line
    }

    @Test func missingContentsAreRefused() async throws {
        try await make()
        let blob = try await git("rev-parse", "main:lib/a.c")
        try Files.removeTree(place.path.appending("repo/.git/objects/\(blob.prefix(2))/\(blob.dropFirst(2))"))
        let missing = try await run("--repository", "repo", "main~", "main")
        #expect(missing.ending == .exited(1))
        #expect(missing.output.text.contains("lib/a.c: its contents are missing"))
    }

    /// A commit that the repository lets another stand for is still what its id says.
    @Test func replacementsAreNotBelieved() async throws {
        try await make()
        try await git("replace", "main", "main~1")
        #expect(
            try await run("--repository", "repo", try await git("rev-parse", "main~1"), try await git("rev-parse", "main")).ending
                == .exited(1))
    }

    private func error(_ arguments: String...) async throws -> String {
        var command = Command(ValidateTests.program.string, ["--diff-only"] + arguments)
        command.directory = place.path
        let result = try await command.run()
        #expect(result.ending == .exited(65))
        #expect(result.output.text == "")
        return result.errors.line.replacing(place.path.string, with: "DIR")
    }

    @Test func whatIsWrongIsSaid() async throws {
        try await make()
        try place.write(["empty/x": ""])
        #expect(try await error("--repository", "empty", "a", "b") == "auton-validate: not a git repository: DIR/empty")
        #expect(try await error("--repository", "absent", "a", "b") == "auton-validate: no such directory: DIR/absent")
        #expect(try await error("--repository", "repo", "main", "zz") == "auton-validate: no such commit in DIR/repo: zz")
        #expect(
            try await error("--repository", "repo", "main:lib", "main") == "auton-validate: no such commit in DIR/repo: main:lib")
        #expect(
            try await error("--repository", "repo", "main~2")
                == "auton-validate: it has no parent to compare it with; give a base: main~2")
        let same = try await error("--repository", "repo", "main", "HEAD")
        #expect(
            same == "auton-validate: there is nothing to compare, both are the commit \(try await git("rev-parse", "main")): HEAD"
        )
        try place.write(["repo/.git/config": "[core\n"])
        #expect(
            try await error("--repository", "repo", "main~", "main").hasPrefix(
                "auton-validate: not a git repository (fatal: bad config line 1"))
    }

    @Test func aShallowClone() async throws {
        try await make()
        let base = try await git("rev-parse", "main~")
        _ = try await Command(
            "git", ["clone", "-q", "--depth=1", "file://\(place.path)/repo", place.path.appending("shallow").string]
        ).run()
        #expect(
            try await error("--repository", "shallow", base, "main")
                == "auton-validate: no such commit in DIR/shallow, which is a shallow clone; fetch more of its history: \(base)")
        #expect(
            try await error("--repository", "shallow", "main")
                == "auton-validate: its parent is not in this shallow clone; give a base, or fetch more of its history: main")
    }

    @Test func usage() async throws {
        for arguments in [[], ["a", "b", "c"], ["a", "--commit", "b"], ["--base", "a"], ["a", "--directory", "b"]] {
            #expect(try await Command(ValidateTests.program.string, ["--diff-only"] + arguments).run().ending == .exited(64))
        }
        #expect(try await Command(ValidateTests.program.string, ["boot-001", "--paths", "lib/"]).run().ending == .exited(64))
    }
}

extension CapturedOutput {
    fileprivate var line: String { text.split(separator: "\n").joined(separator: "\n") }
}
