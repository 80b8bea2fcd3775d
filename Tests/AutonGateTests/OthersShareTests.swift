import AutonKit
import Glibc
import Testing

@testable import AutonGate

/// Who has the machine.
@Suite struct OthersShareTests {
    @Test func whatNobodyHereHasWaitedForIsOthers() async throws {
        let others = OthersShare()
        // The shell ends, and what it has started goes on.
        let result = try await Command("sh", ["-c", "(while :; do :; done) >/dev/null 2>&1 & echo $!"]).run()
        let spinner = try #require(pid_t(Text.lines(result.output.text).first ?? ""))
        defer { kill(spinner, SIGKILL) }
        // Until a twentieth of the machine's time was its, however busy that is.
        while others.share < 0.05 { try await Task.sleep(for: .milliseconds(20)) }
        kill(spinner, SIGKILL)
    }

    @Test func whatWasWaitedForIsOurs() async throws {
        let others = OthersShare(), clock = ContinuousClock()
        let spent = try await clock.measure {
            _ = try await Command("timeout", ["0.5", "sh", "-c", "while :; do :; done"]).run()
        }
        // Half a second of one processor's would be in it otherwise, where all are idle but that.
        let own = min(0.4 / (spent.seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), 1)
        #expect(others.share <= 1 - own)
    }
}
