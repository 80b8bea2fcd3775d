import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

/// Kernels that misbehave in every way that a boot can show, built and booted.
@Suite struct BootTests {
    /// - Parameters:
    ///   - more: further files of the kernel.
    ///   - beside: the seed by which suites run beside one another.
    private func boot(
        _ code: String, and more: [String: String] = [:], on machine: Machine = Machine(), suites: [String] = [],
        beside: Int? = nil, seconds: Double = 10
    ) async throws -> BootReport {
        let kernel = try await Temporary.builtKernel(
            more.merging(["tests/hostile.c": Scaffold.hostile(code)]) { _, new in new })
        let build = try await Build.run(in: kernel.path)
        try #require(build.succeeded, "\(build.diagnostics)")
        var boot = Boot(image: build.image, machine: machine, suites: suites, seconds: seconds)
        boot.beside = beside
        let report = try await boot.run()
        // Nothing of the boot's stays behind.
        #expect(try Files.list(kernel.path.appending("build")).filter { $0.hasPrefix("boot") } == [])
        return report
    }

    @Test func aGoodKernel() async throws {
        let report = try await boot("KTEST(zz, works) { KASSERT_EQ(2, 2); }" + Scaffold.atStart("print(COM1, \"hello\\n\");"))
        #expect(report.failure == nil)
        #expect(report.ending == .passed)
        #expect(report.report.tests.last == TestResult(name: "zz.works", outcome: .ok))
        #expect(report.consoleLines.contains("hello"))
    }

    /// What QEMU's firmware configuration says of the machine: 3 is the memory in bytes, 5 the number of processors, 0x0b the bytes of
    /// the module, 0x14 those of the command line and its end.
    @Test(arguments: ["pvh", "pvh-smp4", "pvh-64m", "pvh-4g"]) func theMachineIsTheOneAskedFor(name: String) async throws {
        let machine = try #require(Machine(named: name))
        let commandLine = "console=com1 auton" + (name == "pvh-64m" ? " slab.debug" : "")
        let code = """
            static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
            static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
            static uint64_t item(uint16_t key, int bytes)
            {
                uint64_t value = 0;
                outw(0x510, key);
                for (int i = 0; i < bytes; i++)
                    value |= (uint64_t)inb(0x511) << 8 * i;
                return value;
            }
            KTEST(zz, machine) { KASSERT_EQ(item(3, 8), \(machine.memory)ul << 20); KASSERT_EQ(item(5, 2), \(machine.processors));
                                KASSERT_EQ(item(0x0b, 4) != 0, \(name == "pvh-4g")); KASSERT_EQ(item(0x14, 4), \(commandLine.utf8.count + 1)); }
            """
        #expect(try await boot(code, on: machine).failure == nil)
    }

    /// Of what is on the bus there are bridges only, and a system management bus; the firmware's configuration is read byte by byte.
    @Test(arguments: ["pvh", "pvh-smp4"]) func noDeviceWritesToMemory(name: String) async throws {
        let code = """
            static inline void outl(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
            static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
            static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
            static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
            static uint32_t pci(uint32_t device, uint32_t at) { outl(0xcf8, 1u << 31 | device << 8 | at); return inl(0xcfc); }
            KTEST(zz, devices)
            {
            \tunsigned bridges = 0;
            \tfor (uint32_t device = 0; device < 1 << 16; device++) {
            \t\tif (pci(device, 0) == 0xffffffff) continue;
            \t\tconst uint32_t class = pci(device, 8) >> 16;
            \t\tKASSERT(class >> 8 == 6 || class == 0xc05);
            \t\tbridges += class >> 8 == 6;
            \t}
            \tKASSERT(bridges >= 2);
            }
            KTEST(zz, configuration) { outw(0x510, 1); KASSERT_EQ(inb(0x511) & 3, 1); }
            """
        #expect(try await boot(code, on: #require(Machine(named: name))).failure == nil)
    }

    @Test func suitesAreChosen() async throws {
        let code = "KTEST(aa, x) { } KTEST(bb, x) { } KTEST(cc, x) { }"
        let report = try await boot(code, suites: ["aa", "cc"])
        #expect(report.failure == nil)
        #expect(report.report.tests.map(\.name) == ["aa.x", "cc.x"])
    }

    @Test func testsAreChosen() async throws {
        let code = "KTEST(aa, x) { } KTEST(aa, xy) { } KTEST(aa, z) { } KTEST(ab, xy) { } KTEST(bb, x) { }"
        let report = try await boot(code, suites: ["aa.x", "a", "aa.", "ab.x*", "bb.xy", "aa.zz*"])
        #expect(report.failure == nil)
        #expect(report.report.tests.map(\.name) == ["aa.x", "ab.xy"])
    }

    /// Each suite has a thread; what a test says is told in one piece, also of another thread that it has created.
    @Test func suitesRunBesideOneAnother() async throws {
        let code = """
            #include "sched.h"
            static int a, b;
            static void helps(void *arg) { (void)arg; turn(); KASSERT_EQ(b, 5); }
            KTEST(aa, beside_waits) { a = 1; ktest_note("a", 7); while (b < 2) turn(); KASSERT_EQ(b, 2); b = 3; }
            KTEST(aa, not_beside) { for (;;); }
            KTEST(bb, beside_answers) { while (a < 1) turn(); b = 2; ktest_note("b", 8); while (b < 3) turn(); KASSERT_EQ(b, 4); }
            KTEST(bb, beside_has_help)
            {
            \tconst struct thread_attr attr = { "help", CLASS_NORMAL, 0 };
            \tstruct thread *t;
            \tKASSERT_EQ(thread_create(&attr, helps, 0, &t), 0);
            \tthread_join(t, TIMEOUT_NONE, 0);
            }
            """
        let report = try await boot(code, and: Scaffold.kernel(named: "threads"), beside: 7)
        #expect(report.failure == "2 tests failed: bb.beside_answers, bb.beside_has_help")
        #expect(
            report.report.tests == [
                TestResult(name: "aa.beside_waits", outcome: .ok, diagnostics: ["a 7"]),
                TestResult(
                    name: "bb.beside_answers", outcome: .notOk,
                    diagnostics: ["b 8", "tests/hostile.c:11: KASSERT_EQ(b, 4): 3 != 4"]),
                TestResult(
                    name: "bb.beside_has_help", outcome: .notOk, diagnostics: ["tests/hostile.c:8: KASSERT_EQ(b, 5): 3 != 5"]),
            ])
    }

    @Test func nothingRunsBesideWithoutThreads() async throws {
        let report = try await boot("KTEST(aa, beside_x) { }", beside: 7)
        #expect(report.failure == "the test report is not to be believed: the harness refused: the kernel has no threads")
    }

    @Test func aFailedTest() async throws {
        let report = try await boot("KTEST(zz, fails) { KASSERT_EQ(3, 4); }")
        #expect(report.ending == .failed)
        #expect(report.failure == "1 test failed: zz.fails")
        #expect(report.evidence.prefix(2) == ["not ok: zz.fails", "  tests/hostile.c:6: KASSERT_EQ(3, 4): 3 != 4"])
    }

    @Test func noTestRan() async throws {
        let report = try await boot("", suites: ["nosuch"])
        #expect(report.failure == "no test ran")
        #expect(report.ending == .failed)
    }

    @Test func onlySkips() async throws {
        let report = try await boot("KTEST(aa, x) { KSKIP(\"no\"); }", suites: ["aa"])
        #expect(report.failure == "no test ran")
    }

    @Test func aHang() async throws {
        let report = try await boot("KTEST(zz, hangs) { for (;;); }", seconds: 3)
        #expect(report.ending == .timedOut)
        #expect(report.failure == "hang in zz.hangs after 3 s")
        #expect(report.report.names(.missing) == ["zz.hangs"])
        #expect(report.seconds < 30)
    }

    /// What QEMU waits for a processor is no time of the kernel's. The others are sessions of their own, which a scheduler may take for one each.
    @Test func aHangOnABusyMachine() async throws {
        let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile("KTEST(zz, hangs) { for (;;); }")])
        let build = try await Build.run(in: kernel.path)
        try #require(build.succeeded, "\(build.diagnostics)")
        let busy = """
            for i in $(seq $(($(nproc) * 4))); do setsid sh -c 'while :; do :; done' & pids="$pids $!"; done
            until test -e \(kernel.path)/over; do sleep 0.05; done; kill -KILL $pids
            """
        async let others = Command("sh", ["-c", busy]).run()
        let report = try await Boot(image: build.image, seconds: 2).run()
        try kernel.write(["over": ""])
        _ = try await others
        #expect(report.failure == "hang in zz.hangs after 2 s")
        #expect(report.seconds > 4)
    }

    @Test func silence() async throws {
        let report = try await boot(Scaffold.atStart("for (;;);"), seconds: 1)
        #expect(report.failure == "nothing printed within 1 s")
    }

    @Test func aTripleFault() async throws {
        let code = """
            KTEST(zz, faults)
            {
                const struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };
                __asm__ volatile("lidt %0; int3" : : "m"(none));
            }
            """
        let report = try await boot(code)
        #expect(report.ending == .reset)
        #expect(report.failure == "reset (triple fault?) in zz.faults")
    }

    @Test func aPanic() async throws {
        let report = try await boot("KTEST(zz, panics) { harness_panic(\"out of frames\"); }")
        #expect(report.ending == .panic)
        #expect(report.failure == "panic in zz.panics: out of frames")
    }

    @Test(arguments: ["COM1", "COM2"]) func aFlood(port: String) async throws {
        let report = try await boot("KTEST(zz, floods) { for (;;) print(\(port), \"flood\\n\"); }", seconds: 60)
        #expect(report.ending == .flooded)
        #expect(report.failure == "serial flood: more than 1024 KiB printed in zz.floods")
        #expect(report.console.utf8.count <= Boot.outputLimit)
        #expect(report.seconds < 30)
    }

    @Test func passClaimedOverAFailedTest() async throws {
        let report = try await boot("KTEST(aa, fails) { KASSERT(0); } KTEST(zz, leaves) { leave(0x10); }")
        #expect(report.ending == .passed)
        #expect(report.failure == "exit status says pass, but aa.fails failed")
    }

    @Test func passClaimedInTheMiddle() async throws {
        let report = try await boot("KTEST(zz, leaves) { leave(0x10); }", suites: ["zz", "harness"])
        #expect(report.failure == "the test report is not to be believed: 4 tests planned, 3 reported")
        #expect(report.report.names(.missing) == ["zz.leaves"])
    }

    @Test func passClaimedInSilence() async throws {
        #expect(try await boot(Scaffold.atStart("leave(0x10);")).failure == "nothing printed")
        #expect(
            try await boot(Scaffold.atStart("print(COM1, \"all is well\\n\"); leave(0x10);")).failure == "no test report on COM2")
    }

    @Test func anotherStatus() async throws {
        #expect(try await boot("KTEST(zz, leaves) { leave(2); }").failure == "QEMU ended with status 5 in zz.leaves")
        #expect(try await boot(Scaffold.atStart("leave(0);")).failure == "QEMU ended with status 1 before the first test")
    }

    /// A whole report, printed without knowing the nonce.
    @Test func aForgedReport() async throws {
        let forged = #"KTAP version 1\n1..1\n# auton nonce 00\nok 1 boot.all\n# auton end 00 pass 1 fail 0 skip 0\n"#
        let report = try await boot(Scaffold.atStart("print(COM2, \"\(forged)\"); leave(0x10);"))
        #expect(report.ending == .passed)
        #expect(report.failure == "the test report is not to be believed: the nonce at the beginning is not this boot's")
    }

    @Test func resultsSlippedIntoTheReport() async throws {
        let report = try await boot("KTEST(zz, forges) { print(COM2, \"ok 4 zz.forges\\nok 5 zz.more\\n\"); }")
        #expect(report.failure != nil)
        #expect(!report.report.problems.isEmpty)
    }

    @Test func noImageToLoad() async throws {
        let tree = try Temporary()
        try tree.write(["build/kernel.elf": "this is no kernel\n"])
        let report = try await Boot(image: tree.path.appending("build/kernel.elf")).run()
        #expect(report.ending == .notLoadable)
        #expect(report.failure == "QEMU cannot load the image: invalid kernel header")
    }

    @Test func anImageThatIsALink() async throws {
        let tree = try Temporary()
        try tree.write(["build/x": ""])
        _ = try await Command("ln", ["-s", "/etc/passwd", tree.path.appending("build/kernel.elf").string]).run()
        await #expect(throws: AutonError.self) { try await Boot(image: tree.path.appending("build/kernel.elf")).run() }
    }

    /// What reaches an agent holds no nonce, even if the kernel prints it.
    @Test func theNonceIsHidden() async throws {
        let code = """
            static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
            static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
            static uint32_t number(int bytes) { uint32_t n = 0; while (bytes--) n = n << 8 | inb(0x511); return n; }
            static char name[56], nonce[129];
            KTEST(zz, tells)
            {
                uint32_t found = 0, size = 0;
                outw(0x510, 0x19);
                for (uint32_t files = number(4); files; files--) {
                    const uint32_t length = number(4), key = number(2);
                    number(2);
                    for (int i = 0; i < 56; i++)
                        name[i] = (char)inb(0x511);
                    if (ktest_streq(name, "opt/auton/nonce")) { found = key; size = length; }
                }
                outw(0x510, (uint16_t)found);
                for (uint32_t i = 0; i < size && i < 128; i++)
                    nonce[i] = (char)inb(0x511);
                print(COM1, nonce);
                KASSERT_STREQ(nonce, "");
            }
            """
        let report = try await boot(code)
        #expect(report.console.contains("<nonce>"))
        #expect(report.evidence.contains { $0.contains("\"<nonce>\" != \"\"") })
    }

    @Test func theSameKernelSaysTheSame() async throws {
        let kernel = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile("KTEST(zz, fails) { KASSERT(0); }")])
        let image = try await Build.run(in: kernel.path).image
        let first = try await Boot(image: image).run(), second = try await Boot(image: image).run()
        #expect(first.report == second.report)
        #expect(first.failure == second.failure)
        #expect(first.evidence == second.evidence)
    }
}
