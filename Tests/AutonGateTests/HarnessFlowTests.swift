import AutonKit
import Testing

@testable import AutonGate

/// Kernels that go into the harness, or into an acceptance test, where they may not; and those that may.
@Suite struct HarnessFlowTests {
    /// What is seen of an acceptance test, and of a part of the kernel that it judges.
    private func intrusion(_ acceptance: String, _ judged: String) async throws -> String? {
        let head = "#include \"harness.h\"\nint judged(int (*fn)(int));\nvoid leave(void);\n"
        let kernel = try await Temporary.builtKernel(["acceptance/mm/judged.c": head + acceptance, "mm/judged.c": head + judged])
        let build = try await Build.run(in: kernel.path)
        try #require(build.succeeded, "\(build.diagnostics)")
        let report = try await BootReport.ofWatched(build.image, seconds: 10)
        #expect(report.failure == nil)
        return report.intrusion
    }

    private static let good = "int judged(int (*fn)(int)) { return fn(20) + 1; }\nvoid leave(void) { }\n"
    private static let test = """
        static int twice(int n) { return 2 * n; }
        KTEST(mm, judged) { KASSERT_EQ(judged(twice), 41); }

        """
    /// What comes back to where the caller's caller goes on: it has no frame of its own.
    private static let leaves = """
        void leave(void) { __asm__ volatile("leave; ret"); }
        int judged(int (*fn)(int)) { (void)fn; return 0; }

        """

    @Test func whoMayComeIn() async throws {
        #expect(try await intrusion(Self.test, Self.good) == nil)
        // It ends with what another function does.
        #expect(try await intrusion(Self.test + "KTEST(mm, hands_over) { KASSERT(true); leave(); }", Self.good) == nil)
        // A benchmark is called as a test is.
        #expect(try await intrusion(Self.test + "KBENCH(mm, bench) { while (n--) judged(twice); }", Self.good) == nil)
    }

    @Test func whoReturnsPastTheAssertions() async throws {
        let test = "KTEST(mm, judged) { leave(); KASSERT_EQ(1, 2); }"
        #expect(try await intrusion(test, Self.leaves) == "ktest_mm__judged was left before it had come to its end")
        // Its end may be another function's.
        let deeper = """
            static __attribute__((noinline)) void check(void) { leave(); KASSERT_EQ(1, 2); }
            KTEST(mm, judged) { check(); KASSERT(true); }
            """
        #expect(try await intrusion(deeper, Self.leaves) == "ktest_mm__judged was left before it had come to its end")
    }

    @Test func whoComesBackBehindAnAssertion() async throws {
        let test = """
            void checks(void);
            __asm__(".globl checks; checks: call leave; nop; nop; nop; ret");
            KTEST(mm, judged) { checks(); KASSERT(true); }
            """
        let judged = """
            __asm__(".globl leave; leave: addq $2, (%rsp); ret");
            int judged(int (*fn)(int)) { (void)fn; return 0; }
            """
        let found = try await intrusion(test, judged)
        #expect(found == "other code goes into the midst of checks")
    }

    /// By way of a function that the test has handed over, which returns to where it is told to.
    @Test func whoReturnsByWayOfAnother() async throws {
        let judged = """
            int judged(int (*fn)(int)) { __asm__ volatile("leave; jmp *%0" : : "r"(fn)); return 0; }
            void leave(void) { }
            """
        let test = """
            static int twice(int n) { return 2 * n; }
            KTEST(mm, judged) { KASSERT_EQ(judged(twice), 41); KASSERT_EQ(1, 2); }
            """
        #expect(try await intrusion(test, judged) == "ktest_mm__judged was left before it had come to its end")
    }

    /// A call that has come back does not do so once more.
    @Test func whoComesBackBehindAnotherCall() async throws {
        let test = """
            void first(void);
            void second(void);
            KTEST(mm, judged) { for (volatile int i = 0; i < 2; i++) { first(); KASSERT_EQ(i, 0); second(); } }
            """
        let judged = """
            __asm__(".globl first, second; .bss; place: .quad 0; .text;"
            \t"first: mov place, %rax; test %rax, %rax; je 1f; mov %rax, (%rsp); 1: ret; second: mov (%rsp), %rax; mov %rax, place; ret");
            int judged(int (*fn)(int)) { (void)fn; return 0; }
            void leave(void) { }
            """
        #expect(try await intrusion(test, judged) == "other code goes into the midst of ktest_mm__judged")
    }

    @Test func whoGoesIntoTheHarness() async throws {
        let judged = """
            int judged(int (*fn)(int))
            {
            \tconst uint8_t *at = (const uint8_t *)ktest_note;
            \twhile (*at != 0xc3) at++;
            \t((void (*)(void))at)();
            \treturn fn(20) + 1;
            }
            void leave(void) { }
            """
        let found = try await intrusion(Self.test, judged)
        #expect(found?.hasPrefix("other code goes into the midst of ktest_") == true, "\(found ?? "nothing")")
    }
}
