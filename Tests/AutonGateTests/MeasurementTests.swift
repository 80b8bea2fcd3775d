import AutonKit
import AutonMessages
import CLinux
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import AutonGate

/// Real kernels, counted.
@Suite struct MeasurementTests {
    private static let counted = """
        static inline uint64_t now(void)
        {
            uint32_t low, high;
            __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
            return (uint64_t)high << 32 | low;
        }
        static inline void spin(uint64_t n) { for (volatile uint64_t i = 0; i < n; i++) ; }
        """

    private func build(_ code: String) async throws -> (Temporary, FilePath) {
        let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile(Self.counted + code)])
        let build = try await Build.run(in: kernel.path)
        try #require(build.succeeded, "\(build.diagnostics)")
        return (kernel, build.image)
    }

    private func measure(_ code: String, suites: [String] = [], benches: [String] = [], seconds: Double = 20) async throws
        -> Measurement
    {
        let (kernel, image) = try await build(code)
        defer { withExtendedLifetime(kernel) {} }
        return try await Measurement.take(of: image, suites: suites, benches: benches, seconds: seconds)
    }

    private static let some = """

        KTEST(zz, hundred) { __asm__ volatile("mov $50, %%ecx; 1: dec %%ecx; jnz 1b" : : : "ecx"); }
        KTEST(zz, one) { }
        KTEST(zz, random) { uint64_t r; __asm__ volatile("rdrand %0" : "=r"(r)); spin(r % 1000); }
        KTEST(zz, when) { while (now() % 1000003 > 100) ; }
        KBENCH(yy, nop) { for (uint64_t i = 0; i < n; i++) __asm__ volatile("nop"); }
        KBENCH(zz, set_up) { spin(100000); for (uint64_t i = 0; i < n; i++) __asm__ volatile("nop; nop; nop"); }
        KBENCH(zz, slow) { for (uint64_t i = 0; i < n; i++) spin(10000); }
        """

    @Test func instructionsAreCountedExactly() async throws {
        let measured = try await measure(Self.some)
        #expect(measured.failure == nil)
        let tests = Dictionary(uniqueKeysWithValues: measured.counts.tests.map { ($0.name, $0.instructions) })
        #expect(tests.keys.sorted().suffix(4) == ["zz.hundred", "zz.one", "zz.random", "zz.when"])
        // One to begin with and two for each of fifty rounds.
        #expect(tests["zz.hundred"]! - tests["zz.one"]! == 101)
        let benches = Dictionary(uniqueKeysWithValues: measured.counts.benches.map { ($0.name, $0.instructions) })
        #expect(benches.keys.sorted() == ["yy.nop", "zz.set_up", "zz.slow"])
        // Of 1000 iterations: the loop's own instructions are the same, what is outside of it drops out.
        #expect(benches["zz.set_up"]! - benches["yy.nop"]! == 2000)
        #expect(benches["zz.slow"]! > 10_000_000)
    }

    @Test func longestTimeWithInterruptsOff() async throws {
        let code = """
            static __attribute__((noinline)) void off(void) { __asm__ volatile("cli"); }
            static __attribute__((noinline)) void on(void) { __asm__ volatile("sti; nop"); }
            static __attribute__((noinline)) void again(uint64_t flags)
            {
                __asm__ volatile("push %0; popfq; nop" : : "r"(flags) : "memory", "cc");
            }
            static void loop(uint32_t n) { __asm__ volatile("1: dec %0; jnz 1b" : "+r"(n)); }
            static void mask(void) { __asm__ volatile("outb %%al, $0x21; outb %%al, $0xa1" : : "a"(0xff)); }
            KTEST(zz, never) { mask(); on(); loop(9000); off(); }
            KTEST(zz, shorter_first) { mask(); on(); off(); loop(50); on(); off(); loop(5000); on(); loop(9000); off(); }
            KTEST(zz, by_flags)
            {
                uint64_t flags;
                mask();
                on();
                __asm__ volatile("pushfq; pop %0" : "=r"(flags));
                off();
                loop(700);
                again(flags);
                off();
            }
            """
        let counts = try await measure(code).counts.tests
        let masked = { (name: String) in counts.first { $0.name == name }?.masked }
        // Twice the rounds, and what is around them.
        let longest = try #require(masked("zz.shorter_first"))
        #expect(
            (10_000..<10_040).contains(longest.instructions) && longest.off == "ktest_zz__shorter_first" && longest.on == "on")
        let byFlags = try #require(masked("zz.by_flags"))
        #expect((1400..<1440).contains(byFlags.instructions) && byFlags.on == "again")
        // Of the test before, and of what was reported of it.
        #expect(masked("zz.never")?.instructions ?? 0 < 9000)
    }

    @Test func tellsNothingOfAProcessorThatIsLaidOutInAnotherWay() async throws {
        let (kernel, image) = try await build("KTEST(zz, off) { }")
        defer { withExtendedLifetime(kernel) {} }
        let watch = try #require(try ProcessorWatch(of: image, on: Machine())), elf = try #require(ELFImage(Files.read(image)))
        let test = String(try #require(elf.address(of: "ktest_zz__off")), radix: 16)
        let seen = { (end: String) in watch.findings(Array("masked \(test) 70 0 0\n\(end)\n".utf8)).masked["zz.off"]?.instructions
        }
        #expect(seen("end 3 0") == 70)
        #expect(["end 2 1", "end 0 0", "end", ""].compactMap(seen) == [])
    }

    /// However they are spelled, and whatever stands before the instruction.
    @Test(arguments: ["", ".byte 0x2e; ", ".byte 0x65, 0x66, 0x3e; "]) func whoUsesTheHarnessesPorts(prefixes: String)
        async throws
    {
        let read = { (port: String) in
            "KTEST(zz, reads) { uint8_t b; __asm__ volatile(\"\(prefixes)inb %1, %0\" : \"=a\"(b) : \"Nd\"((uint16_t)\(port))); }"
        }
        #expect(try await measure(read("sizeof(char[0x510]) - 0x4a0")).intrusion == nil)
        let intrusion = try await measure(read("1296.0 + 1")).intrusion
        #expect(intrusion == "ktest_zz__reads uses the harness's port 0x511")
    }

    /// Who knows that instructions are counted, since two readings of the clock lie next to each other, is looked on, too.
    @Test func whoMeddlesOnlyWhereInstructionsAreCounted() async throws {
        let code = """
            KTEST(zz, meddles) {
            \tuint64_t first = now();
            \tif (now() - first < 8) { volatile char *p = (volatile char *)&ktest_fail; *p = *p; }
            }
            """
        let (kernel, image) = try await build(code)
        defer { withExtendedLifetime(kernel) {} }
        #expect(try await BootReport.ofWatched(image, seconds: 10).intrusion == nil)
        let intrusion = try await Measurement.take(of: image, seconds: 20).intrusion
        #expect(intrusion?.hasPrefix("ktest_zz__meddles writes to what is the harness's, or constant, at ") == true)
    }

    /// All threads of QEMU's take turns on one processor of the host, or a halt may end at another time in another boot.
    @Test func onOneProcessorOfTheHost() async throws {
        let (kernel, image) = try await build("KTEST(zz, long) { spin(300000000); }")
        defer { withExtendedLifetime(kernel) {} }
        let isOver = Mutex(false)
        async let measuring = {
            defer { isOver.withLock { $0 = true } }
            return try await Measurement.take(of: image, seconds: 20)
        }()
        var seen: [String] = []
        while seen.count < 2 && !isOver.withLock(\.self) {
            seen = try Self.descendants(named: "qemu-system-x86").compactMap { status in
                status.first { $0.hasPrefix("Cpus_allowed_list:") }.map { String($0.split(separator: "\t")[1]) }
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(seen.allSatisfy { Int($0) != nil }, "\(seen)")
        // Two at once have two, if there are two.
        #expect(Set(seen).count == min(seen.count, auton_processor(0) == auton_processor(1) ? 1 : 2))
        #expect(try await measuring.failure == nil)
        #expect(seen.count >= 2)
    }

    /// Of this process: the lines of their /proc/PID/status.
    private static func descendants(named name: String) throws -> [[String]] {
        var statuses: [String: [String]] = [:]
        for process in try Files.list("/proc") where Int(process) != nil {
            let text = (try? Files.readText(FilePath("/proc").appending(process).appending("status"))) ?? ""
            statuses[process] = text.split(separator: "\n").map(String.init)
        }
        func isOurs(_ process: String) -> Bool {
            let parent = statuses[process]?.first { $0.hasPrefix("PPid:") }.map { String($0.split(separator: "\t")[1]) } ?? "0"
            return parent == String(getpid()) || (parent != "0" && isOurs(parent))
        }
        return statuses.filter { $1.first == "Name:\t\(name)" && isOurs($0) }.map(\.value)
    }

    /// Neither the nonce, which is another in every boot, nor the clock, nor where the tree was built has a part in it.
    @Test func theSameCountsInEveryVerdict() async throws {
        let (one, image) = try await build(Self.some), (two, other) = try await build(Self.some)
        defer { withExtendedLifetime((one, two)) {} }
        let first = try await Measurement.take(of: image, seconds: 20)
        #expect(first.failure == nil)
        for image in [image, other] { #expect(try await Measurement.take(of: image, seconds: 20).counts == first.counts) }
    }

    @Test func suitesAreChosen() async throws {
        let measured = try await measure(Self.some, suites: ["harness"], benches: ["yy"])
        #expect(measured.failure == nil)
        #expect(measured.counts.tests.map(\.name) == ["harness.bss_zeroed", "harness.init_order", "harness.sections"])
        #expect(measured.counts.benches.map(\.name) == ["yy.nop"])
    }

    @Test func anOrdinaryBootCountsNothing() async throws {
        let (kernel, image) = try await build(Self.some)
        defer { withExtendedLifetime(kernel) {} }
        let report = try await Boot(image: image).run()
        #expect(report.failure == nil)
        #expect(report.counters.counts == InstructionCounts())
    }

    /// The nonce is the one thing that differs from boot to boot; this kernel waits for as long as it says.
    @Test func aKernelThatIsNotTheSameTwice() async throws {
        let code = """

            extern const char __kernel_end[];
            static uint64_t sum(void)
            {
                /* The harness keeps the nonce in its bss. */
                uint64_t s = 0;
                for (const volatile uint8_t *p = __bss(); p < (const volatile uint8_t *)__kernel_end; p++) s = s * 31 + *p;
                return s;
            }
            KTEST(zz, differs) { spin(sum() % 100000); }
            """.replacing("extern const char __kernel_end[];", with: "extern const char __bss_start[], __kernel_end[];")
            .replacing("__bss()", with: "(const volatile uint8_t *)__bss_start")
        let measured = try await measure(code)
        let failure = try #require(measured.failure)
        #expect(failure.hasPrefix("not the same twice: zz.differs took "))
        #expect(failure.contains(" instructions, then "))
        #expect(measured.evidence == [String(failure.dropFirst("not the same twice: ".count))])
    }

    @Test func aBenchmarkThatHangs() async throws {
        let measured = try await measure("\nKBENCH(zz, hangs) { while (n) __asm__ volatile(\"\"); }", seconds: 3)
        #expect(measured.failure == "where time is counted in instructions: hang in the benchmark zz.hangs after 3 s")
    }

    @Test func aBenchmarkThatFails() async throws {
        let measured = try await measure("\nKBENCH(zz, fails) { KASSERT(n == 0); }")
        #expect(measured.failure?.hasPrefix("where time is counted in instructions: ") == true)
        #expect(measured.failure?.contains("a benchmark did not run to its end") == true)
        #expect(measured.evidence.contains { $0.contains("KASSERT(n == 0)") } == false)
    }

    /// A benchmark that says itself what it takes.
    @Test func aForgedCount() async throws {
        let measured = try await measure("\nKBENCH(zz, forges) { ktest_note(\"bench zz.forges\", 1); spin(n); }")
        #expect(
            measured.failure == "the counts are not to be believed: a count for zz.forges where none belongs")
    }
}
