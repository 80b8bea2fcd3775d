import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

/// Who sent what stands on COM2.
@Suite struct WitnessTests {
    @Test(arguments: [
        ("ok 1 a\n", "ok 1 a\n", nil), ("", "", nil),
        // Somebody else's, at the beginning, in the middle, at the end, or in place of the harness's.
        ("xok", "ok", 0), ("oxk", "ok", 1), ("okx", "ok", 2), ("ok 1 a\n", "not ok 1 a\n", 0), ("aaa", "aa", 2),
        // Sent, and kept from arriving.
        ("ok", "oak", 1), ("o", "ok", 1), ("", "ok", 0), ("ok", "ook", 1), ("ok", "okk", 2),
    ])
    func difference(report: String, seen: String, expected: Int?) {
        let origin = Self.witness.origin(of: Array(report.utf8), seen.utf8.map { .sent($0) })
        #expect(origin == (expected.map { .foreign(after: $0) } ?? .harness))
    }

    private static let witness = Witness(functions: ["ktest_lib__a": 0x7000, "kbench_lib__b": 0x8000])

    @Test func aLineHasByteOrAddress() {
        #expect(
            Witness.events(in: Array("6f\nffffffff80007000\nfailed\n0a\n6\nxy\n".utf8))
                == [.sent(0x6f), .called(0xffff_ffff_8000_7000), .failed, .sent(0x0a)])
        #expect(Witness.events(in: []) == [])
    }

    /// What has a result was called, and nothing else in its place.
    @Test(
        arguments: [
            (["# run lib.a\n"], 0x7000, ["ok 1 lib.a\n"], nil), (["# bench lib.b\n"], 0x8000, ["# bench lib.b 7\n"], nil),
            (["# run lib.a\n"], nil, ["ok 1 lib.a\n"], "lib.a"), (["# run lib.a\n"], 0x7001, ["ok 1 lib.a\n"], "lib.a"),
            (["# bench lib.b\n"], nil, ["# bench lib.b 7\n"], "lib.b"), (["# bench lib.b\n"], 0x7000, [], "lib.b"),
            (["# run lib.c\n"], 0x7000, ["not ok 1 lib.c\n"], "lib.c"), (["x\n"], 0x7000, [], "nothing"),
        ] as [([String], UInt64?, [String], String?)])
    func whatRanIsWhatHasAResult(before: [String], called: UInt64?, after: [String], impostor: String?) {
        let sent = { (lines: [String]) in lines.joined().utf8.map { Witness.Event.sent($0) } }
        let report = Array((before + after).joined().utf8)
        let origin = Self.witness.origin(of: report, sent(before) + (called.map { [.called($0)] } ?? []) + sent(after))
        #expect(origin == (impostor.map { .impostor($0) } ?? .harness))
    }

    @Test(arguments: [("ok 1 lib.a\n", true), ("not ok 1 lib.a\n", false), ("ok 1 lib.a # SKIP not here\n", true)])
    func whoFailsSaysSo(result: String, isSilenced: Bool) {
        let before = "# run lib.a\n"
        let sent = { (text: String) in text.utf8.map { Witness.Event.sent($0) } }
        let origin = Self.witness.origin(
            of: Array((before + result).utf8), sent(before) + [.called(0x7000), .failed] + sent(result))
        #expect(origin == (isSilenced ? .silenced("lib.a") : .harness))
    }

    private func intrusion(_ tree: FilePath) async throws -> String? {
        let image = try await Build.run(in: tree).image
        return try await BootReport.ofWatched(image, seconds: 10).intrusion
    }

    private func origin(_ code: String) async throws -> String? {
        let kernel = try await Temporary.builtKernel(["tests/demo.c": Scaffold.hostile(code)])
        return try await intrusion(kernel.path)
    }

    @Test func theHarnessIsSeenToSendItAll() async throws {
        #expect(try await origin("KTEST(demo, one) { KASSERT_EQ(1 + 1, 2); ktest_note(\"n\", 7); }") == nil)
        #expect(try await origin("KTEST(demo, two) { KASSERT_EQ(1, 2); }") == nil)
    }

    /// Whatever it is that keeps the harness from telling: here its own code.
    @Test(arguments: ["KASSERT(0);", "KASSERT_EQ(1, 2);", "KASSERT_STREQ(\"a\", \"b\");"])
    func anAssertionThatIsKeptQuiet(assertion: String) async throws {
        let harness = try Files.readText(Scaffold.kernel.appending("harness/run.c"))
        let deaf = harness.replacing("\tharness_running()->state = TEST_FAILED;", with: "\treturn;")
        #expect(deaf != harness)
        let kernel = try await Temporary.builtKernel([
            "tests/demo.c": Scaffold.hostile("KTEST(demo, one) { \(assertion) }"), "harness/run.c": deaf,
        ])
        #expect(try await intrusion(kernel.path) == "an assertion failed in demo.one, which is said to pass")
    }

    /// One byte is enough; nor does it help to turn the port off while the harness sends.
    @Test(arguments: [
        "KTEST(demo, one) { outb(COM2, '\\n'); }",
        "KTEST(demo, one) { print(COM2, \"# a word of my own\\n\"); }",
        "KTEST(demo, a) { outb(COM2 + 4, 0x13); } KTEST(demo, b) { outb(COM2 + 4, 3); }",
    ])
    func whatTheHarnessDidNotSend(code: String) async throws {
        #expect(try await origin(code)?.hasPrefix("the report is not what the harness sent, from byte ") == true)
    }

    /// What the processor does of itself is not the harness's doing, nor is it a write to only read.
    @Test func whoOnlyReadsIsNoIntruder() async throws {
        let code = """
            extern volatile char __text_start[], __bss_end[];
            KTEST(demo, one) { for (volatile char *p = __text_start; p < __bss_end; p += 8) (void)*p; KASSERT(true); }
            """
        #expect(try await origin(code) == nil)
    }

    @Test(arguments: [
        "extern volatile char __bss_start[];\nKTEST(demo, one) { for (int i = 0; i < 4096; i++) __bss_start[i] = __bss_start[i]; }",
        "extern volatile char __rodata_start[];\nKTEST(demo, one) { *__rodata_start = *__rodata_start; }",
        // By the mapping of the first GiB to itself.
        "KTEST(demo, one) { volatile char *p = (volatile char *)((uint64_t)&ktest_fail & 0x7fffffff); *p = *p; }",
    ])
    func whoWritesToTheHarness(code: String) async throws {
        #expect(try await origin(code)?.hasPrefix("ktest_demo__one writes to what is the harness's, or constant, at ") == true)
    }

    /// Whatever instruction writes is seen to: QEMU does not treat all alike.
    @Test(arguments: [1, 4]) func whateverWritesIsSeen(processors: Int) async throws {
        let stack = { (code: String) in
            "mov %rsp, %rbx; mov %rbp, %rsi; mov %rdi, %rsp; \(code); mov %rsi, %rbp; mov %rbx, %rsp"
        }
        let instructions = [
            "movb %al, (%rdi)", "movq $1, (%rdi)", "mov %al, %es:(%rdi)", "mov %cs, (%rdi)", "movnti %rax, (%rdi)",
            "addl %eax, (%rdi)", "incw (%rdi)", "notb (%rdi)", "negq (%rdi)", "shll (%rdi)", "rcll (%rdi)", "sete (%rdi)",
            "shldl $1, %eax, (%rdi)", "stosb", "rep stosq", "lea 8(%rdi), %rsi; movsw", "push %rax; popq (%rdi)",
            stack("push %rax"), stack("push $7"), stack("push (%rdi)"), stack("pushf"), stack("call 1f; 1:"),
            "lea 1f(%rip), %rax; " + stack("call *%rax; 1:"), stack("enter $8, $0"), stack("enter $8, $1"),
            "xchg %eax, (%rdi)", "lock addl $1, (%rdi)", "lock notq (%rdi)", "lock xaddl %eax, (%rdi)", "lock btrl $1, (%rdi)",
            "btsl $1, (%rdi)", "cmpxchg %ecx, (%rdi)", "lock cmpxchg %ecx, (%rdi)", "cmpxchg8b (%rdi)", "lock cmpxchg16b (%rdi)",
            "sgdt (%rdi)", "sidt (%rdi)", "smsw (%rdi)", "sldt (%rdi)", "str (%rdi)",
        ]
        let functions = instructions.enumerated().map { index, code in
            """
            static __attribute__((noinline)) void w\(index)(void) {
            \t__asm__ volatile("\(code.replacing("%", with: "%%"))"
            \t\t: : "D"(place + 64), "a"(0), "c"(1), "d"(0) : "rbx", "rsi", "memory", "cc");
            }

            """
        }
        let code =
            "static const char place[128] __attribute__((aligned(128))) = {1};\n" + functions.joined()
            + "KTEST(demo, one) { \(functions.indices.map { "w\($0)();" }.joined(separator: " ")) KASSERT(true); }"
        let kernel = try await Temporary.builtKernel(["tests/demo.c": Scaffold.hostile(code)])
        let build = try await Build.run(in: kernel.path), image = build.image
        let isBuilt = build.succeeded
        try #require(isBuilt, "\(build.diagnostics)")
        var boot = Boot(image: image, seconds: 20)
        boot.machine.processors = processors
        boot.oversight = try Oversight(of: image, on: boot.machine)
        let report = try await boot.run()
        #expect(report.failure == nil, "\(report.evidence)")
        let unseen = instructions.indices.filter { index in
            !report.tampering.contains { $0.hasPrefix("w\(index) writes to what is") }
        }
        #expect(unseen.map { instructions[$0] } == [])
    }

    /// 200 MiB are mapped to 64 MiB first, then, where the harness's code would be, to the first.
    private static let mapped = """
        typedef volatile uint64_t *table;
        static inline table below(uint64_t entry) { return (table)(entry & ~0xfffull); }
        static inline void flush(void) { uint64_t c; __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(c) : : "memory"); }
        static inline table tables(void) { uint64_t c; __asm__("mov %%cr3, %0" : "=r"(c)); return below(*below(c)); }
        static inline volatile char *place(void) { return (volatile char *)(200ull << 20 | ((uint64_t)&ktest_fail & 0x1fffff)); }

        """

    /// A page that was somebody else's when it was written to is asked for again when it is mapped anew, by an instruction behind whatever prefixes.
    @Test(arguments: [
        "flush()", "__asm__ volatile(\"invlpg %0\" : : \"m\"(*place()))",
        "__asm__ volatile(\"invlpg %%gs:%0\" : : \"m\"(*place()))",
        "{ uint64_t c; __asm__ volatile(\"mov %%cr3, %0; .byte 0x2e, 0x36, 0x66; mov %0, %%cr3\" : \"=r\"(c) : : \"memory\"); }",
    ])
    func whoMapsTheHarnessElsewhere(flush: String) async throws {
        let code = """
            KTEST(demo, one) {
            \ttable directory = below(*tables());
            \tdirectory[100] = directory[32]; flush(); *place() = 1;
            \tdirectory[100] = directory[0]; \(flush); *place() = *place();
            }
            """
        #expect(try await origin(Self.mapped + code)?.hasPrefix("ktest_demo__one writes to what is the harness's") == true)
    }

    /// Nor does who adds nothing change anything, or who writes to other memory by an address that is like the harness's.
    @Test(arguments: [
        mapped + """
            KTEST(demo, one) { table directory = below(*tables()); directory[100] = directory[32]; flush(); *place() = 1; KASSERT(1); }
            """,
        mapped + """
            static uint64_t mine[512] __attribute__((aligned(4096)));
            KTEST(demo, one) {
            \tvolatile char *p = (volatile char *)(2ull << 30 | ((uint64_t)&ktest_fail & 0x1fffff));
            \tmine[0] = below(*tables())[32]; tables()[2] = ((uint64_t)mine & 0x7fffffff) | 3; flush(); *p = 1; KASSERT_EQ(*p, 1);
            }
            """,
        "KTEST(demo, one) { __asm__ volatile(\"lock orb $0, (%0)\" : : \"r\"(&ktest_fail) : \"memory\"); KASSERT(true); }",
    ])
    func whoLeavesTheHarnessAlone(code: String) async throws {
        #expect(try await origin(code) == nil)
    }

    @Test func aHarnessThatDoesNotTell() async throws {
        let kernel = try await Temporary.builtKernel(["tests/demo.c": Scaffold.hostile("KTEST(demo, one) { }")])
        let file = kernel.path.appending("harness/report.c")
        try Files.write(file, Array(try Files.readText(file).replacing("report_sent", with: "report_gone").utf8), sync: false)
        #expect(try await intrusion(kernel.path) == "the harness does not tell where it sends from")
    }
}
