import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

/// Kernels that end badly, and what is told of where and why. Real ones, so that lines are those of `Scaffold.hostile`.
@Suite struct DiagnosisTests {
    private func boot(_ code: String, seconds: Double = 10) async throws -> BootReport {
        let kernel = try await Temporary.builtKernel(["tests/bad.c": Scaffold.hostile(code)])
        let build = try await Build.run(in: kernel.path)
        try #require(build.succeeded, "\(build.diagnostics)")
        let report = try await Boot(image: build.image, suites: ["zz"], seconds: seconds).run()
        #expect(report.failure != nil)
        #expect(report.evidence.count <= 22, "\(report.evidence)")
        #expect(try Files.list(kernel.path.appending("build")).filter { $0.hasPrefix("boot") } == [])
        return report
    }

    /// Not one for the compiler to look into.
    private static let quiet = "__attribute__((noinline, noclone, noipa))"
    private static let noTraps = """
        static void no_traps(void)
        {
            const struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };
            __asm__ volatile("lidt %0" : : "m"(none));
        }
        """

    @Test func aLoopOverTwoFunctions() async throws {
        let report = try await boot(
            """
            static volatile int ready;
            \(Self.quiet) static int check(int n) { for (volatile int i = 0; i < n; i++); return ready; }
            \(Self.quiet) static int wait_ready(void) { while (!check(100)); return ready; }
            KTEST(zz, waits) { print(COM1, "waiting\\n"); KASSERT(wait_ready()); }
            """, seconds: 3)
        #expect(report.failure == "hang in zz.waits after 3 s")
        #expect(
            report.diagnosis.first?.hasPrefix("loops ") == true && report.diagnosis[0].contains(" check"), "\(report.diagnosis)")
        let calls = report.diagnosis.drop { $0 != "called from" }.dropFirst()
        #expect(calls.contains { $0.hasPrefix("  ktest_zz__waits+0x") && $0.hasSuffix("(tests/bad.c:9)") }, "\(calls)")
        #expect(calls.contains { $0.contains("harness/run.c") })
        #expect(calls.last?.hasPrefix("  high+0x") == true)
        #expect(report.evidence.suffix(2) == ["console:", "  waiting"])
    }

    @Test func haltedForGood() async throws {
        let report = try await boot(
            """
            \(Self.quiet) static void stop(void) { __asm__ volatile("cli; hlt"); }
            KTEST(zz, halts) { stop(); KASSERT(0); }
            """, seconds: 3)
        #expect(report.diagnosis.first == "halted with interrupts off: stop+0x2 (tests/bad.c:6)")
        #expect(report.diagnosis.dropFirst(2).first?.hasPrefix("  ktest_zz__halts+0x") == true, "\(report.diagnosis)")
    }

    @Test func haltedBeforeTheFirstWord() async throws {
        let report = try await boot(Scaffold.atStart("for (;;) __asm__ volatile(\"hlt\");"), seconds: 1)
        #expect(report.failure == "nothing printed within 1 s")
        #expect(report.diagnosis.first?.hasPrefix("halted with interrupts off: begin+0x") == true, "\(report.diagnosis)")
    }

    @Test func aPageFaultWithoutAHandler() async throws {
        let report = try await boot(
            """
            \(Self.noTraps)
            \(Self.quiet) static void poke(volatile uint64_t *at) { *at = 1; }
            KTEST(zz, pokes) { no_traps(); poke((uint64_t *)0x123456789000); KASSERT(0); }
            """)
        #expect(report.failure == "reset (triple fault?) in zz.pokes")
        #expect(
            report.diagnosis.prefix(3) == [
                "triple fault: page fault (#PF), error code 0x2: write to 0x123456789000, not present",
                "  at poke+0x0 (tests/bad.c:11)", "  delivering that raised double fault (#DF), error code 0x0",
            ])
        #expect(report.diagnosis.dropFirst(4).first?.hasPrefix("  ktest_zz__pokes+0x") == true, "\(report.diagnosis)")
    }

    @Test func aJumpToNowhere() async throws {
        let report = try await boot(
            """
            \(Self.noTraps)
            \(Self.quiet) static void jump(void (*to)(void)) { to(); __asm__ volatile(""); }
            KTEST(zz, jumps) { no_traps(); jump((void (*)(void))0x123456789000); KASSERT(0); }
            """)
        #expect(
            report.diagnosis.prefix(2) == [
                "triple fault: page fault (#PF), error code 0x0: fetch from 0x123456789000, not present",
                "  at 0x123456789000, not in the kernel's code",
            ])
        #expect(report.diagnosis.contains { $0.hasPrefix("  ktest_zz__jumps+0x") }, "\(report.diagnosis)")
    }

    @Test func aStackThatOverflows() async throws {
        let code = """
            \(Self.noTraps)
            \(Self.quiet) static int deep(volatile int *n) { volatile int room[64]; room[0] = *n; if (room[0] == 5) return 0; return deep(&room[0]) + room[0]; }
            KTEST(zz, overflows) { volatile int n = 1; no_traps(); KASSERT(deep(&n)); }
            """
        var report = try await boot(code)
        // It runs over the kernel itself, down to what the machine does with that: now and then the second boot, which finds
        // out why, does not end as the first did, and says so.
        for _ in 0..<3 where report.diagnosis == ["a second boot, to find out why, was not reset"] {
            report = try await boot(code)
        }
        #expect(report.ending == .reset || report.ending == .timedOut)
        #expect(report.diagnosis.contains { $0.contains("deep+0x") }, "\(report.diagnosis)")
    }

    @Test func aBadAddressSpace() async throws {
        let report = try await boot(
            """
            KTEST(zz, switches) { __asm__ volatile("mov %0, %%cr3" : : "r"(0x1000ull) : "memory"); KASSERT(0); }
            """)
        #expect(report.failure == "reset (triple fault?) in zz.switches")
        #expect(
            report.diagnosis.first?.hasPrefix("triple fault: page fault (#PF), error code 0x0: fetch from") == true,
            "\(report.diagnosis)")
        #expect(report.diagnosis.dropFirst().first?.hasPrefix("  at ktest_zz__switches+0x") == true)
    }

    @Test func aResetOnPurpose() async throws {
        let report = try await boot("KTEST(zz, resets) { outb(0x64, 0xfe); for (;;); }")
        #expect(report.failure == "reset (triple fault?) in zz.resets")
        #expect(report.diagnosis == ["no triple fault: the kernel had the machine reset"])
    }

    private static func panicking(_ before: String) -> String {
        """
        \(quiet) static void third(int n) { if (n) { \(before) harness_panic("out of frames"); } __asm__ volatile(""); }
        \(quiet) static void second(int n) { third(n); __asm__ volatile(""); }
        \(quiet) static void first(int n) { second(n); __asm__ volatile(""); }
        KTEST(zz, panics) { first(1); KASSERT(0); }
        """
    }

    @Test func aPanicThreeCallsDeep() async throws {
        let report = try await boot(Self.panicking(""))
        #expect(report.failure == "panic in zz.panics: out of frames")
        let functions = report.diagnosis.dropFirst().map { $0.drop { $0 == " " }.prefix { $0 != "+" } }
        #expect(report.diagnosis.first == "called from")
        #expect(functions == ["third", "second", "first", "ktest_zz__panics", "run_test", "harness_run", "stub_main", "high"])
        #expect(
            report.diagnosis.dropFirst().map { $0.suffix(15) }.prefix(3) == [
                "(tests/bad.c:6)", "(tests/bad.c:7)", "(tests/bad.c:8)",
            ])
    }

    /// A frame pointer that leads nowhere, out of memory, into the code, and in a circle.
    @Test(arguments: [
        "0", "1", "0x123456789000", "-8", "0xffffffff80000000", "0xfffffffff0000000", "(uint64_t)frame", "(uint64_t)frame - 64",
    ])
    func aPanicOverASmashedFramePointer(pointer: String) async throws {
        let smash = "uint64_t *frame = __builtin_frame_address(0); *(volatile uint64_t *)frame = (uint64_t)(\(pointer));"
        let report = try await boot(Self.panicking(smash))
        #expect(report.failure == "panic in zz.panics: out of frames")
        #expect(report.diagnosis.dropFirst().first?.hasPrefix("  third+0x") == true, "\(report.diagnosis)")
    }

    @Test func aFloodOfGarbage() async throws {
        let report = try await boot(
            "KTEST(zz, floods) { for (uint8_t c = 1;; c = (uint8_t)(c * 5 + 1)) { outb(COM1, c); outb(COM2, c); } }", seconds: 60)
        #expect(report.ending == .flooded)
        #expect(
            report.evidence.allSatisfy { $0.utf8.count < 2_000 && !$0.unicodeScalars.contains { $0.value < 32 && $0 != "\t" } })
    }

    /// An image that no tool can read, a monitor that is not there, one that is a file: less is told, nothing else.
    @Test func whatCannotBeFoundOutIsLeftOut() async throws {
        let tree = try Temporary()
        try tree.write(["kernel.elf": "no ELF"])
        let image = tree.path.appending("kernel.elf")
        let registers = "RIP=ffffffff80106002 RFL=00000002 RSP=0 RBP=0 CR2=0 HLT=1"
        let state = try #require(MachineState(registers: registers))
        #expect(await Diagnosis.panic([0xffff_ffff_8010_6000], image: image, directory: tree.path) == [])
        #expect(
            await Diagnosis.hang([state], image: image, directory: tree.path) == [
                "halted with interrupts off: 0xffffffff80106002, not in the kernel's code"
            ])
        #expect(await Diagnosis.hang([], image: image, directory: tree.path) == [])
        #expect(MachineState(registers: "unknown command") == nil)
        #expect(Monitor(in: tree.path, until: .now + .seconds(1)) == nil)
        try tree.write([Monitor.name: ""])
        #expect(Monitor(in: tree.path, until: .now + .seconds(1)) == nil)
    }

    @Test func theSameKernelSaysTheSame() async throws {
        let code = """
            \(Self.noTraps)
            KTEST(zz, faults) { no_traps(); __asm__ volatile("ud2"); }
            """
        let kernel = try await Temporary.builtKernel(["tests/bad.c": Scaffold.hostile(code)])
        let image = try await Build.run(in: kernel.path).image
        let first = try await Boot(image: image).run(), second = try await Boot(image: image).run()
        #expect(first.diagnosis.first == "triple fault: invalid opcode (#UD)")
        #expect(first.evidence == second.evidence)
        // What looks on from outside is there in the boot that explains, too.
        let watched = try await BootReport.ofWatched(image, seconds: 10)
        #expect(watched.diagnosis == first.diagnosis)
    }
}
