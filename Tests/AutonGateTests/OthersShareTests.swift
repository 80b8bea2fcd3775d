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
        let result = try await Command("sh", ["-c", "(while :; do :; done) >/dev/null 2>&1 & echo $!"]).run()
        let spinner = try #require(pid_t(Text.lines(result.output.text).first ?? ""))
        defer { kill(spinner, SIGKILL) }
        // Until a twentieth of the machine's time was its, however busy that is.
        while others.share < 0.05 { try await Task.sleep(for: .milliseconds(20)) }
        kill(spinner, SIGKILL)
    }

    @Test(arguments: [true, false]) func whatFailsMeanwhileIsBootedOnceMore(passesThen: Bool) async throws {
        var images: [FilePath] = [], kernels: [Temporary] = []
        for value in [1, passesThen ? 0 : 2] {
            let code = "KTEST(zz, clock) { KASSERT_EQ(\(value), 0); }"
            let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile(code)])
            let build = try await Build.run(in: kernel.path)
            try #require(build.succeeded, "\(build.diagnostics)")
            images.append(build.image)
            kernels.append(kernel)
        }
        // Nobody's children: the shell ends, and they go on, on all processors.
        let spin = "for i in $(seq $(nproc)); do sh -c 'echo $$; exec >/dev/null 2>&1; while :; do :; done' & done"
        let result = try await Command("sh", ["-c", "(\(spin)) | head -n $(nproc)"]).run()
        let spinners = Text.lines(result.output.text).compactMap { pid_t($0) }
        defer { for spinner in spinners { kill(spinner, SIGKILL) } }
        let (boot, excuse) = try await BootReport.believed {
            try await Boot(image: images.removeFirst(), seconds: 30).run()
        }
        #expect(!spinners.isEmpty && images.isEmpty)
        #expect(boot.failure == (passesThen ? nil : "1 test failed: zz.clock"))
        #expect(excuse.hasPrefix("at the second go, as others had ") == passesThen, "\(excuse)")
        #expect(excuse.hasSuffix(" % of the machine; at first: 1 test failed: zz.clock") == passesThen, "\(excuse)")
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

    @Test func whatRunsIsOursTheSame() async throws {
        let others = OthersShare(), start = ContinuousClock.now
        async let spinner = Command("timeout", ["2", "sh", "-c", "while :; do :; done"]).run()
        try await Task.sleep(for: .seconds(1))
        let seconds = start.duration(to: .now).seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        // It had a tenth of that second at least.
        #expect(others.share <= 1 - 0.1 / seconds)
        _ = try await spinner
    }

    @Test func whatWasWaitedForIsOurs() async throws {
        let start = ContinuousClock.now, others = OthersShare()
        _ = try await Command("timeout", ["0.5", "sh", "-c", "while :; do :; done"]).run()
        let share = others.share
        // Of the time that it takes to ask, too, which is long on a busy machine.
        let seconds = start.duration(to: .now).seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        // It had a fifth of its half a second at least, which would be in the others' share otherwise.
        #expect(share <= 1 - 0.1 / seconds)
    }
}
