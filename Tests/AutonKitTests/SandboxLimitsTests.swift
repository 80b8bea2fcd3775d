import AutonKit
import SystemPackage
import TestSupport
import Testing

/// What a command in the sandbox can use up.
@Suite(.serialized) struct SandboxLimitsTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write("tree/file", "inside\n")
        try Worktree.handOver(directory["tree"])
    }

    private func shell(_ script: String, _ change: (inout Sandbox) -> Void) async throws -> CommandResult {
        var sandbox = Sandbox(directory["tree"])
        change(&sandbox)
        return try await sandbox.run("sh", ["-c", script])
    }

    @Test func atItsTimeLimitDaemonsDieToo() async throws {
        let script = """
            trap '' TERM INT HUP
            setsid flock one sleep 300 & flock two sleep 300 &
            for lock in one two; do while flock --nonblock $lock true; do sleep 0.01; done; done
            echo begun; sleep 300
            """
        let result = try await shell(script) { $0.limits.seconds = 5 }
        #expect(result.ending == .timedOut)
        #expect(result.output.text == "begun\n")
        for lock in ["tree/one", "tree/two"] { #expect(try await directory.isReleased(lock)) }
    }

    @Test func nothingOutlivesTheCommand() async throws {
        let script = "setsid flock one sleep 300 >/dev/null 2>&1 & while flock --nonblock one true; do sleep 0.01; done; exit 4"
        #expect(try await shell(script) { _ in }.ending == .exited(4))
        #expect(try await directory.isReleased("tree/one"))
    }

    @Test func processesAreLimited() async throws {
        let result = try await shell("for i in $(seq 300); do sleep 20 & done; wait") {
            $0.limits.processes = 40
            $0.limits.seconds = 15
        }
        #expect(result.errors.text.contains("fork"))
        #expect(result.ending == .exited(2))
    }

    /// The kernel counts processes by the user, which is one for all sandboxes.
    @Test func whatOneSandboxHasForkedIsNotCountedInAnother() async throws {
        let fork = "for i in $(seq 70); do sleep 20 & done; echo forked"
        let limit: @Sendable (inout Sandbox) -> Void = { $0.limits.processes = 100 }
        async let crowd = shell("\(fork); touch full; while test -e full; do sleep 0.05; done", limit)
        while !Files.exists(directory["tree/full"]) { try await Task.sleep(for: .milliseconds(20)) }
        let other = try await shell(fork, limit)
        try Files.removeTree(directory["tree/full"])
        #expect(other.output.text == "forked\n" && other.succeeded, "\(other.ending): \(other.errors.text)")
        #expect(try await crowd.succeeded)
    }

    @Test func aForkBombEndsAtItsTimeLimit() async throws {
        let result = try await shell("f() { f | f & }; f; while :; do :; done") {
            $0.limits.processes = 60
            $0.limits.seconds = 1
        }
        #expect(result.ending == .timedOut || result.ending == .exited(2))
        #expect(try await shell("echo fine") { _ in }.output.text == "fine\n")
    }

    @Test func memoryIsLimited() async throws {
        let script = "head -c 300000000 /dev/zero | tail -c 290000000 | wc -c"
        #expect(try await shell(script) { $0.limits.memory = 64 << 20 }.output.text != "290000000\n")
        #expect(try await shell(script) { _ in }.output.text == "290000000\n")
    }

    @Test func fileSizeIsLimited() async throws {
        let result = try await shell("head -c 3000000 /dev/zero > big; ls -l big | cut -d ' ' -f 5") {
            $0.limits.fileSize = 1 << 20
        }
        #expect(result.output.text == "1048576\n")
        #expect(try Files.read(directory["tree/big"]).count == 1 << 20)
    }

    @Test func temporaryFilesAreLimited() async throws {
        let result = try await shell("for i in $(seq 6); do head -c 60000000 /dev/zero > /tmp/$i; done; du -sm /tmp | cut -f1") {
            _ in
        }
        #expect(result.errors.text.contains("No space left"))
        #expect(Int(result.line)! <= 256)
    }

    @Test func aFloodIsCut() async throws {
        let result = try await shell("yes; echo end") {
            $0.limits.seconds = 1
            $0.limits.output = 10_000
        }
        #expect(result.ending == .timedOut)
        #expect(result.output.total > 1 << 20)
        #expect(result.output.text.utf8.count < 10_100)
        #expect(result.output.text.hasPrefix("y\ny\n") && result.output.text.contains(" bytes left out …]\n"))
    }

    @Test func itStopsWhenToldTo() async throws {
        let flag = directory["tree/flag"]
        let result = try await shell("echo x > flag; sleep 100") {
            $0.limits.seconds = 90
            $0.stop = { Files.exists(flag) }
        }
        #expect(result.ending == .timedOut)
    }

    @Test func aDirectoryThatIsNotThereIsNoJudgement() async throws {
        let error = await failure { try await Sandbox(directory["nothing"]).run("true", []) }
        #expect(error?.status == .unavailable)
        #expect(error?.what.hasPrefix("the sandbox cannot be set up: bwrap: ") == true)
    }
}
