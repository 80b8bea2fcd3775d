import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What a command's processes may use up together, with a sandbox and without one.
@Suite(.serialized) struct SandboxTotalsTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write("tree/file", "inside\n")
        try Worktree.handOver(directory["tree"])
    }

    private func session(confined: Bool) -> SandboxSession {
        var sandbox = Sandbox(directory["tree"])
        sandbox.isConfined = confined
        return SandboxSession(sandbox)
    }

    private func run(_ session: SandboxSession, _ script: String, _ change: (inout Sandbox.Limits) -> Void = { _ in })
        async throws
        -> CommandResult
    {
        var limits = Sandbox.Limits()
        limits.seconds = 30
        change(&limits)
        return try await session.run("sh", ["-c", script], limits: limits)
    }

    @Test(arguments: [true, false])
    func memoryOfManyProcesses(confined: Bool) async throws {
        let script = "for i in 1 2 3 4 5 6; do (head -c 60000000 /dev/zero; sleep 300) | tail -c 60000001 & done; wait"
        let session = session(confined: confined)
        let result = try await run(session, "\(script) >/dev/null") { $0.totalMemory = 256 << 20 }
        #expect(result.ending == .exceeded(.memory))
        #expect("\(result.ending)" == "killed at its limit of memory")
        #expect(try await run(session, "(head -c 60000000 /dev/zero; sleep 0.3) | tail -c 60000001 | wc -c").line == "60000000")
        await session.leave()
    }

    @Test(
        arguments: [true, false],
        [
            "head -c 3000000 /dev/zero >$i", ": >$i.1; seq -f $i.%g 2000 | xargs touch",
        ])
    func whatManyFilesHold(confined: Bool, write: String) async throws {
        let session = session(confined: confined)
        let result = try await run(session, "i=0; while [ $i -lt 200 ]; do i=$((i+1)); \(write); done; sleep 300") {
            $0.disk = 20 << 20
        }
        #expect(result.ending == .exceeded(.disk))
        // It can be tidied up, and then written again.
        #expect(try await run(session, "rm -rf *; head -c 10000000 /dev/zero >x; sleep 0.2") { $0.disk = 20 << 20 }.succeeded)
        await session.leave()
    }

    /// What one command leaves counts for the next.
    @Test func filesOfSeveralCommands() async throws {
        let session = session(confined: true)
        var endings: [CommandResult.Ending] = []
        for number in 1...4 {
            endings.append(
                try await run(session, "head -c 9000000 /dev/zero >\(number); sleep \(number < 4 ? 0.2 : 300)") {
                    $0.disk = 30 << 20
                }.ending)
        }
        #expect(endings.first == .exited(0) && endings.last == .exceeded(.disk))
        await session.leave()
    }

    @Test func temporaryFilesAreLimitedInNumber() async throws {
        let result = try await run(session(confined: true), "cd /tmp; seq 100000 | xargs touch; sleep 300")
        #expect(result.ending == .exceeded(.disk))
    }

    @Test func withoutASandboxTheRestHolds() async throws {
        setenv("ANTHROPIC_API_KEY", "sk-ant-test-of-no-sandbox", 1)
        defer { unsetenv("ANTHROPIC_API_KEY") }
        let session = session(confined: false)
        let daemons = "setsid flock one sleep 300 & (setsid sh -c 'trap \"\" TERM; flock two sleep 300 &' &)"
        let begun = "for l in one two; do while flock --nonblock $l true; do sleep 0.01; done; done; env; echo x >$TMPDIR/x; pwd"
        let result = try await run(session, "\(daemons); \(begun)")
        #expect(result.output.text.hasSuffix("\(directory["tree"])\n") && !result.output.text.contains("sk-ant"))
        for lock in ["tree/one", "tree/two"] { #expect(try FileLock(trying: directory[lock]) != nil) }
        #expect(try await run(session, "ls -A $TMPDIR; ulimit -p; sleep 300") { $0.seconds = 0.5 }.ending == .timedOut)
        #expect(try await run(session, "ls -A $TMPDIR; ulimit -f; id -u").output.text.hasPrefix("131072\n"))
        let place = FilePath(try await run(session, "echo $TMPDIR").line)
        await session.leave()
        #expect(!Files.exists(place) && place.string.hasPrefix("/tmp/"))
    }

    @Test func withoutASandboxAForkBombEnds() async throws {
        let session = session(confined: false)
        let result = try await run(session, "f() { f | f & }; f; while :; do :; done") {
            $0.processes = 60
            $0.seconds = 1
        }
        #expect(!result.succeeded)
        #expect(try await run(session, "echo fine").output.text == "fine\n")
        await session.leave()
    }

    @Test func pathsAreSeenAsTheyAre() {
        var sandbox = Sandbox("/a/tree")
        sandbox.readable = [("/b/image", "/image")]
        #expect(
            ["/a/tree", "/a/tree/x/y", "/b/image", "/c"].map { sandbox.inside(FilePath($0)) } == [
                "/kernel", "/kernel/x/y", "/image", "/c",
            ])
        sandbox.isConfined = false
        #expect(["/a/tree/x/y", "/b/image"].map { sandbox.inside(FilePath($0)) } == ["/a/tree/x/y", "/b/image"])
    }
}
