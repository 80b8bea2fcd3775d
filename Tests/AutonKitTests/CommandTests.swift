import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct CommandTests {
    private func shell(_ script: String, _ change: (inout Command) -> Void = { _ in }) async throws -> CommandResult {
        var command = Command("sh", ["-c", script])
        change(&command)
        return try await command.run()
    }

    @Test func streamsAndStatusAreApart() async throws {
        let result = try await shell("echo out; echo err >&2; exit 3")
        #expect(result.ending == .exited(3))
        #expect(result.output.text == "out\n")
        #expect(result.errors.text == "err\n")
        #expect(result.line == "out")
        #expect(!result.succeeded)
    }

    @Test func aSignalIsAnEnding() async throws {
        #expect(try await shell("kill -SEGV $$").ending == .signalled(SIGSEGV))
    }

    @Test func inputArrivesWhole() async throws {
        let input = (0..<(2 << 20)).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let result = try await shell("cat") { $0.input = input }
        #expect(result.output.bytes == input)
    }

    @Test func aChildNeedNotReadItsInput() async throws {
        let result = try await shell("exec true") { $0.input = Array(repeating: 65, count: 1 << 20) }
        #expect(result.succeeded)
    }

    @Test func theEnvironmentIsPlain() async throws {
        setenv("AUTON_TEST_SECRET", "key", 1)
        let result = try await Command("env", []).run()
        #expect(
            Set(result.output.text.split(separator: "\n").map { String($0.prefix { $0 != "=" }) }) == ["PATH", "LC_ALL", "HOME"])
    }

    @Test func itRunsWhereItIsTold() async throws {
        let directory = try TemporaryDirectory()
        #expect(try await shell("pwd -P") { $0.directory = directory.path }.line == directory.path.string)
    }

    @Test func aMissingProgramSaysWhichPackageHasIt() async {
        let error = await failure { try await Command("nasm", [], environment: ["PATH": "/nonexistent"]).run() }
        #expect(error?.status == .unavailable)
        #expect(error?.description == "nasm is missing: install the package nasm, or run make deps")
        let unknown = await failure { try await Command("no-such-program", []).run() }
        #expect(unknown?.status == .unavailable)
        #expect(unknown?.description == "no-such-program is missing: not found in PATH")
    }

    @Test func atItsLimitAllOfItIsKilled() async throws {
        let directory = try TemporaryDirectory()
        let script = "flock lock sleep 300 & while flock --nonblock lock true; do sleep 0.01; done; echo begun; sleep 300"
        let result = try await shell(script) {
            $0.timeLimit = 5
            $0.directory = directory.path
        }
        #expect(result.ending == .timedOut)
        #expect(result.output.text == "begun\n")
        #expect(try await directory.isReleased("lock"))
    }

    /// What has left the process group cannot be killed by it, but it must not hold us up.
    @Test func aDaemonDoesNotHoldUpATimeout() async throws {
        let clock = ContinuousClock(), start = clock.now
        let result = try await shell("setsid sleep 77 & echo begun; sleep 100") { $0.timeLimit = 5 }
        #expect(result.ending == .timedOut)
        #expect(result.output.text == "begun\n")
        #expect(clock.now - start < .seconds(60))
    }

    @Test func withinItsLimitNothingIsKilled() async throws {
        let result = try await shell("sleep 0.2; echo done") { $0.timeLimit = 60 }
        #expect(result.ending == .exited(0))
        #expect(result.output.text == "done\n")
    }

    @Test func itStopsWhenToldTo() async throws {
        let directory = try TemporaryDirectory(), flag = directory["stop"]
        let result = try await shell("touch \(flag); sleep 100") {
            $0.timeLimit = 90
            $0.stop = { Files.exists(flag) }
        }
        #expect(result.ending == .timedOut)
    }
}
