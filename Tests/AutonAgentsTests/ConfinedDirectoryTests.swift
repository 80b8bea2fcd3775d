import AutonAgents
import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct ConfinedDirectoryTests {
    private let directory: TemporaryDirectory
    private let confined: ConfinedDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write("outside/secret", "secret")
        try directory.write("tree/boot/entry.asm", "hlt\n")
        symlink(directory["outside"].string, directory["tree/out"].string)
        symlink(directory["outside/secret"].string, directory["tree/boot/link"].string)
        symlink("entry.asm", directory["tree/boot/inside"].string)
        symlink("/nonexistent/x", directory["tree/boot/dangling"].string)
        confined = ConfinedDirectory(directory["tree"])
    }

    private func refusal(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch let refusal as ConfinedDirectory.Refusal {
            return refusal.reason
        } catch {
            return "not a refusal: \(error)"
        }
    }

    private static let waysOut = [
        ("/etc/passwd", "paths are relative to the work tree"),
        ("..", "a path must not contain .."),
        ("../outside/secret", "a path must not contain .."),
        ("boot/../../outside/secret", "a path must not contain .."),
        ("boot/..", "a path must not contain .."),
        ("out/secret", "leads through a symbolic link"),
        ("./out//secret", "leads through a symbolic link"),
        ("out", "leads through a symbolic link"),
        ("boot/link", "leads through a symbolic link"),
        ("boot/inside", "leads through a symbolic link"),
        ("boot/dangling", "leads through a symbolic link"),
        (".git", "git is not yours to touch"),
        (".git/config", "git is not yours to touch"),
        ("boot/.git/hooks/x", "git is not yours to touch"),
        ("boot/.GIT/config", "git is not yours to touch"),
    ]

    @Test(arguments: waysOut)
    func nothingLeadsOut(path: String, reason: String) throws {
        let before = try directory.contents()
        #expect(refusal { _ = try confined.resolve(path) } == "\(path): \(reason)")
        #expect(refusal { _ = try confined.read(path) } == "\(path): \(reason)")
        #expect(refusal { try confined.write(path, "x") } == "\(path): \(reason)")
        #expect(refusal { _ = try confined.list(path) } == "\(path): \(reason)")
        #expect(try directory.contents() == before)
    }

    @Test(arguments: ["boot/entry.asm", "./boot/entry.asm", "boot//entry.asm", "boot/./entry.asm"])
    func pathsInsideAreRead(_ path: String) throws {
        #expect(try confined.read(path) == "hlt\n")
    }

    @Test func aWholeFileIsWrittenWithTheDirectoriesAboveIt() throws {
        try confined.write("mm/deep/frames.c", "int f;\n")
        try confined.write("boot/entry.asm", "cli\n")
        #expect(try directory.read("tree/mm/deep/frames.c") == "int f;\n")
        #expect(try directory.read("tree/boot/entry.asm") == "cli\n")
        if Sandbox.changesUser {
            var status = stat()
            for path in ["tree/mm", "tree/mm/deep", "tree/mm/deep/frames.c"] {
                #expect(lstat(directory[path].string, &status) == 0 && status.st_uid == Sandbox.user, "\(path)")
            }
        }
    }

    @Test(arguments: [
        ("boot/a.c", true), ("boot/deep/a.c", true), ("lib/x.c", true), ("lib/y.c", false), ("lib/x.c/z", false),
        ("bootx/a.c", false), ("a.c", false), ("spec/boot.md", false),
    ])
    func onlyTheTasksPathsAreWritten(path: String, allowed: Bool) throws {
        let task = ConfinedDirectory(directory["tree"], writable: ["boot/", "lib/x.c"])
        let expected = allowed ? nil : "\(path): outside your task's paths (boot/, lib/x.c)"
        #expect(refusal { try task.write(path, "x") } == expected)
        #expect(Files.exists(directory["tree"].appending(path)) == allowed)
    }

    /// What a model can put right, it is told; the program goes on.
    @Test(arguments: [
        "boot/entry.asm/below", "boot", "boot/", "", ".", "boot/" + String(repeating: "x", count: 300), "boot/a\u{0}b",
    ])
    func whatCannotBeWrittenIsARefusal(_ path: String) throws {
        let before = try directory.contents()
        let reason = refusal { try confined.write(path, "x") }
        #expect(reason?.hasPrefix("\(path): ") == true && reason?.contains(directory.path.string) == false)
        #expect(try directory.contents() == before)
    }

    @Test(arguments: ["nothing", "boot", "boot/nothing", "boot/entry.asm/below"])
    func whatIsNoFileIsNotRead(_ path: String) {
        #expect(refusal { _ = try confined.read(path) } == "\(path): no such file")
    }

    @Test func listsFilesWithoutLinksAndBuildOutput() throws {
        try directory.write("tree/build/kernel.elf", "x")
        try directory.write("tree/mm/build/a.c", "four")
        mkfifo(directory["tree/pipe"].string, 0o644)
        #expect(try confined.list("").map { "\($0.path) \($0.bytes)" } == ["boot/entry.asm 4", "mm/build/a.c 4"])
        #expect(try confined.list("./mm/").map(\.path) == ["mm/build/a.c"])
        #expect(refusal { _ = try confined.list("nothing") } == "nothing: no such directory")
        #expect(refusal { _ = try confined.list("boot/entry.asm") } == "boot/entry.asm: no such directory")
    }

    @Test func aPipeDoesNotHoldUpAReader() {
        mkfifo(directory["tree/pipe"].string, 0o644)
        #expect(refusal { _ = try confined.read("pipe") } == "pipe: no such file")
    }
}
