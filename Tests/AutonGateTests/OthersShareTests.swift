import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// Who has the machine.
@Suite struct OthersShareTests {
    @Test func whatNobodyHereHasWaitedForIsOthers() async throws {
        let others = OthersShare()
        // The shell ends, and what it has started goes on.
        let spinners = try await spinners()
        defer { for spinner in spinners { kill(spinner, SIGKILL) } }
        // Until a twentieth of the machine's time was theirs, however busy that is.
        while others.share < 0.05 { try await Task.sleep(for: .milliseconds(20)) }
    }

    /// Nobody's children: the shell ends, and they go on, on all processors.
    private func spinners() async throws -> [pid_t] {
        let spin = "for i in $(seq $(nproc)); do sh -c 'echo $$; exec >/dev/null 2>&1; while :; do :; done' & done"
        let result = try await Command("sh", ["-c", "(\(spin)) | head -n $(nproc)"]).run()
        return Text.lines(result.output.text).compactMap { pid_t($0) }
    }

    /// - Parameter values: what the test finds in one boot after the other, and 0 is right.
    @Test(arguments: [([1, 0], "second"), ([1, 2, 0], "third"), ([1, 2, 3], nil)] as [([Int], String?)])
    func whatFailsMeanwhileIsBootedAgain(values: [Int], go: String?) async throws {
        var images: [FilePath] = [], kernels: [Temporary] = []
        for value in values {
            let code = "KTEST(zz, clock) { KASSERT_EQ(\(value), 0); }"
            let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile(code)])
            let build = try await Build.run(in: kernel.path)
            try #require(build.succeeded, "\(build.diagnostics)")
            images.append(build.image)
            kernels.append(kernel)
        }
        let spinners = try await spinners()
        defer { for spinner in spinners { kill(spinner, SIGKILL) } }
        let (boot, excuse) = try await BootReport.believed {
            try await Boot(image: images.removeFirst(), seconds: 30).run()
        }
        #expect(!spinners.isEmpty && images.isEmpty)
        #expect(boot.failure == (go == nil ? "1 test failed: zz.clock" : nil))
        guard let go else { return #expect(excuse.isEmpty) }
        #expect(excuse.hasPrefix("at the \(go) go, as others had "), "\(excuse)")
        #expect(excuse.hasSuffix(" % of the machine; at first: 1 test failed: zz.clock"), "\(excuse)")
    }

    /// Now and then it fails by the clock, and never where ticks are instructions.
    static let byChance = """
        static uint64_t ticks(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (uint64_t)d << 32 | a; }
        KTEST(zz, clock) { uint64_t t = ticks(), u = ticks(); KASSERT(u - t < 20 || (u >> 4 & 1)); }
        """

    @Test func whatFailsBesideOurOwnBootsIsBootedOnceMore() async throws {
        let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile(Self.byChance)])
        var said = ""
        // One of four, and of so many always one.
        for _ in 0..<50 where !said.contains("second go") {
            var checks = Checklist()
            _ = try await checks.buildAndBoot(kernel.path, limits: RunLimits())
            said = checks.checks.first { $0.name == CheckName.boot }?.detail ?? ""
        }
        #expect(said.contains("at the second go, "), "\(said)")
        #expect(said.hasSuffix("; at first: 1 test failed: zz.clock"), "\(said)")
    }

    /// A shell that is busy for a second of processor time.
    private static let busy = "(ulimit -t 1; while :; do :; done) 2>/dev/null"

    @Test func whatRunsIsOursTheSame() async throws {
        let start = ContinuousClock.now, others = OthersShare(), directory = try Temporary(),
            done = directory.path.appending("done")
        let spinner = Task { try await Command("sh", ["-c", "\(Self.busy); : >\(done); while :; do :; done"]).run() }
        while !Files.exists(done) { try await Task.sleep(for: .milliseconds(20)) }
        expect(others.share, since: start)
        spinner.cancel()
    }

    @Test func whatWasWaitedForIsOurs() async throws {
        let start = ContinuousClock.now, others = OthersShare()
        _ = try await Command("sh", ["-c", "\(Self.busy); :"]).run()
        expect(others.share, since: start)
    }

    /// That second would be in the others' share otherwise. The time that it takes to ask counts, too, which is long on a busy machine.
    private func expect(_ share: Double, since start: ContinuousClock.Instant) {
        let seconds = start.duration(to: .now).seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        #expect(share <= 1 - 0.8 / seconds)
    }
}
