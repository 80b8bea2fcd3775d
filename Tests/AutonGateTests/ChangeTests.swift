import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct ChangeTests {
    private typealias Hunk = ChangedFile.Hunk

    @Test func whatChangedIsRead() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "one\ntwo\nthree\n", "gone.c": "x\n", "kept.c": "k\n", "run": "r\n"])
        let change = try await ws.change([
            "a.c": .write("one\n2\nthree\nfour"), "gone.c": .delete, "new/b.c": .write("n\n"), "run": .executable("r\n"),
            "empty": .write(""),
        ])
        #expect(change.files.map(\.path) == ["a.c", "empty", "gone.c", "new/b.c", "run"])
        #expect(change.files.map(\.status) == [.modified, .added, .deleted, .added, .modified])
        #expect(
            change.files[0].hunks == [
                Hunk(oldStart: 2, newStart: 2, removed: ["two"], added: ["2"]),
                Hunk(oldStart: 3, newStart: 4, added: ["four"]),
            ])
        #expect(change.files[1].hunks == [])
        #expect(change.files[2].hunks == [Hunk(oldStart: 1, newStart: 0, removed: ["x"])])
        #expect(change.files[3].hunks == [Hunk(oldStart: 0, newStart: 1, added: ["n"])])
        #expect(change.files[4].hunks == [])
        #expect(change.files.map(\.oldMode) == [0o100644, 0, 0o100644, 0, 0o100644])
        #expect(change.files.map(\.newMode) == [0o100644, 0o100644, 0, 0o100644, 0o100755])
        #expect(change.files.map(\.oldSize) == [14, nil, 2, nil, 2])
        #expect(change.files.map(\.newSize) == [16, 0, nil, 2, 2])
    }

    @Test func nothingChanged() async throws {
        let ws = try await TestWorkspace(only: ["a": "x\n"])
        #expect(try await ws.change([:]).files.isEmpty)
    }

    /// Lines and names that look like a patch's own must not move what follows to another file.
    @Test func whatLooksLikeAPatchIsNone() async throws {
        let ws = try await TestWorkspace(only: ["z.c": "z\n"])
        let lines = ["diff --git a/x b/x", "@@ -1,9 +1,9 @@", "+++ b/x", "--- a/x", "\\ No newline at end of file"]
        let change = try await ws.change([
            "a\ndiff --git a b\n@@ -1 +1 @@": .write("first\n"), "b.c": .write(lines.joined(separator: "\n")),
            "z.c": .write("last\n"),
        ])
        #expect(change.files.map(\.path) == ["a\ndiff --git a b\n@@ -1 +1 @@", "b.c", "z.c"])
        #expect(change.files.map(\.added) == [["first"], lines, ["last"]])
        #expect(change.files[2].removed == ["z"])
    }

    @Test func linksAndSubmodules() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "a\n", "z.c": "z\n"])
        let change = try await ws.change(["a.c": .link(to: "/etc/passwd"), "m": .submodule, "z.c": .write("last\n")])
        #expect(change.files.map(\.status) == [.typeChanged, .added, .modified])
        #expect(change.files.map(\.newMode) == [0o120000, 0o160000, 0o100644])
        #expect(change.files.map(\.newSize) == [11, nil, 5])
        #expect(change.files[0].removed == ["a"])
        #expect(change.files[0].added == ["/etc/passwd"])
        #expect(change.files[2].added == ["last"])
    }

    @Test func bytesThatAreNoText() async throws {
        let ws = try await TestWorkspace(only: ["a": "x\n"])
        let late = Array(String(repeating: "x\n", count: 10_000).utf8) + [0]
        let change = try await ws.change([
            "binary": .bytes([0, 1, 2]), "late": .bytes(late), "latin1": .bytes([0x66, 0xfc, 0x72, 0x0a]),
            "utf8": .write("für\n"),
        ])
        #expect(change.files.map(\.path) == ["binary", "late", "latin1", "utf8"])
        #expect(
            ContentRule().violations(in: change) == ["binary: binary", "late: binary", "latin1: not UTF-8"])
        #expect(change.files[1].text == late)
    }

    /// An attribute on the base, or in the user's checkout, must not hide what a change does.
    @Test func attributesHideNothing() async throws {
        let ws = try await TestWorkspace(only: [".gitattributes": "*.c -diff binary\n", "a.c": "old\n"])
        let file = try #require(try await ws.change(["a.c": .write("new\n")]).files.first)
        #expect(file.added == ["new"])
        #expect(file.removed == ["old"])
        #expect(file.text == Array("new\n".utf8))
    }

    /// Of what is too large to be a source, nothing is read; who made it is refused for it, and the gate goes on.
    @Test func whatIsTooLargeIsNotRead() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "old\n"])
        let large = Array(repeating: UInt8(ascii: "x"), count: Change.largestFile + 1)
        let change = try await ws.change(["a.c": .write("new\n"), "large one.c": .bytes(large), "z.c": .write("z\n")])
        #expect(change.files.map(\.added) == [["new"], [], ["z"]])
        #expect(change.files[1].newSize == large.count && change.files[1].text == nil)
        #expect(
            ContentRule().violations(in: change) == ["large one.c: \(large.count) bytes, the limit is \(Change.largestFile)"])
    }

    @Test func aChangeThatIsTooLargeAsAWhole() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "old\n"])
        let count = Change.largest / Change.largestFile + 1
        let edits = (0..<count).map { number in
            ("f\(number)", TestWorkspace.Edit.bytes(Array(repeating: UInt8(0x20 + number), count: Change.largestFile)))
        }
        let change = try await ws.change(Dictionary(uniqueKeysWithValues: edits))
        #expect(change.files.count == count)
        #expect(
            ContentRule().violations(in: change).first
                == "the change is too large to be read: \(count * Change.largestFile) bytes, the limit is \(Change.largest)")
    }

    /// What cannot be asked of git is no reason to stop, but to refuse.
    @Test func aLargeFileWhoseNameIsNoText() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "old\n"])
        let large = Array(repeating: UInt8(ascii: "x"), count: Change.largestFile + 1)
        let commit = try await ws.commit(["a.c": .write("new\n"), "x.txt": .bytes(large)])
        let named = try await ws.git.run("ls-tree", commit).replacing("x.txt", with: #""x\377.txt""#)
        let tree = try await ws.git.run("mktree", input: named + "\n")
        let renamed = try await ws.git.run("commit-tree", "-m", "x", tree)
        let judgement = try await Gate.judgeDiff(commit: renamed, base: ws.workspace.main(), paths: nil, in: ws.git)
        let failed = judgement.checks.filter { $0.status == .failed }.map(\.name)
        #expect(failed == [FilesRule.name, ContentRule.name])
    }

    /// Each is looked for in the tests.
    @Test(arguments: [
        ("#define \(String(repeating: "A", count: 140_000)) 1\n", "disguise: include/a.h: a word of more than 255 letters"),
        (
            (0...Change.mostMacros).map { "#define A\($0) 1\n" }.joined(),
            "content: the change is too large to be read: its headers define more than 2000 macros anew"
        ),
    ])
    func macrosThatAreTooLongOrTooMany(text: String, what: String) async throws {
        let ws = try await TestWorkspace(only: ["tests/a.c": "int a;\n", "harness/mem.c": ""])
        let commit = try await ws.commit(["include/a.h": .write(text)])
        let judgement = try await Gate.judgeDiff(commit: commit, base: ws.workspace.main(), paths: nil, in: ws.git)
        let found = judgement.checks.filter { $0.status == .failed }.map { "\($0.name): \($0.evidence.first ?? "")" }
        #expect(found.count == 1 && found.first?.hasPrefix(what) == true, "\(found.map { $0.prefix(200) })")
    }

    /// What the repository's own configuration says of diffs has no part in it.
    @Test func configurationHidesNothing() async throws {
        let ws = try await TestWorkspace(only: ["a.c": "old\n", "x.c": "x\n"])
        let config = """
            [diff]
            \tignoreSubmodules = all
            \talgorithm = patience
            \texternal = touch ran
            \trenames = copies
            \tsuppressBlankEmpty = true
            [diff "c"]
            \ttextconv = echo same
            \tcommand = touch ran
            \tbinary = true
            """
        let file = ws.git.directory.appending("config")
        try Files.write(file, try Files.read(file) + Array((config + "\n").utf8), sync: false)
        try Files.createDirectories(ws.git.directory.appending("info"))
        try Files.write(ws.git.directory.appending("info/attributes"), Array("*.c diff=c -diff binary\n".utf8), sync: false)
        let change = try await ws.change(["a.c": .write("new\n"), "m": .submodule, "x.c": .delete, "y.c": .write("x\n")])
        #expect(change.files.map(\.path) == ["a.c", "m", "x.c", "y.c"])
        #expect([0, 2, 3].map { change.files[$0].added } == [["new"], [], ["x"]])
        #expect(!Files.exists(ws.workspace.root.appending("ran")))
    }
}

extension ChangedFile {
    var removed: [String] { hunks.flatMap(\.removed) }
    var added: [String] { hunks.flatMap(\.added) }
}
