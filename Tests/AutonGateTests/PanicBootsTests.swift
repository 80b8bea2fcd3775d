import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

/// Boots that are to end in a panic, of a kernel that says three lines and then panics.
@Suite struct PanicBootsTests {
    private static let code = """
        #include "harness.h"
        int console_init(void);
        size_t console_write(const char *text, size_t n);
        _Noreturn void stop(void);
        #define SAY(text) console_write(text "\\n", sizeof text)
        _Noreturn void stop(void)
        {
            console_init();
            SAY("first 12");
            SAY("between");
            SAY("second ab");
            SAY("panic: cpu 3: enough");
            harness_panic("enough");
        }

        """
    private static let acceptance = """
        #include "harness.h"
        _Noreturn void stop(void);
        KPANIC(ipc, stop) { stop(); }

        """
    private static let expected = "# what it says\n\n^first [0-9]+$\n^second [a-z]+$\n^panic: cpu 3: enough$\n"

    private func check(
        _ edits: [(String, String, String)] = [], base: [String] = [], demand: BootDemand = .named([Machine()]),
        seconds: Double = 10
    ) async throws -> Check {
        var files = [
            "ipc/stop.c": Self.code, "acceptance/ipc/stop.c": Self.acceptance, "acceptance/ipc/stop.panic": Self.expected,
            "tests/ipc_stop.c": "#include \"harness.h\"\nKTEST(ipc, one) { KASSERT(1); }\n",
        ]
        for (file, old, new) in edits { files[file] = try #require(files[file]).replacing(old, with: new) }
        let tree = try await Temporary.builtKernel(files.filter { !$0.value.isEmpty })
        var list = Checklist()
        var limits = RunLimits()
        limits.bootSeconds = seconds
        let trial = try #require(try await list.buildAndBoot(tree.path, limits: limits))
        try #require(!list.hasFailed, "\(list.checks)")
        try await list.checkPanics(of: trial, base: TreeRecord(tests: [], panics: base), in: tree.path, demand, limits)
        let check = try #require(list.checks.last)
        #expect(check.name == CheckName.panics)
        return check
    }

    private func refusal(_ file: String, _ old: String, _ new: String, seconds: Double = 10) async throws -> String {
        let check = try await check([(file, old, new)], seconds: seconds)
        #expect(check.status == .failed)
        return check.detail
    }

    @Test func whatIsAskedForIsSaid() async throws {
        let check = try await check(base: ["ipc.stop"])
        #expect(check.status == .passed && check.detail == "1 panic on pvh", "\(check)")
    }

    @Test func onSeveralProcessorsToo() async throws {
        let check = try await check(demand: .named(try ["pvh-smp4", "pvh-64m"].map { try #require(Machine(named: $0)) }))
        #expect(check.status == .passed && check.detail == "1 panic on pvh, pvh-smp4", "\(check)")
    }

    @Test func otherWordsAreRefused() async throws {
        let missing = "ipc.stop (pvh): no line of the console matches, where it should, "
        #expect(try await refusal("ipc/stop.c", "first 12", "first") == missing + "^first [0-9]+$")
        // Both lines are there, in the other order.
        let swapped = try await check([
            ("ipc/stop.c", "SAY(\"first 12\");", "SAY(\"second ab\");"),
            ("ipc/stop.c", "SAY(\"between\");", "SAY(\"first 12\");"),
            ("ipc/stop.c", "SAY(\"first 12\");\n    SAY(\"second ab\");", "SAY(\"first 12\");"),
        ])
        #expect(swapped.detail == missing + "^second [a-z]+$")
        #expect(
            try await refusal("ipc/stop.c", "harness_panic(", "SAY(\"more\"); harness_panic(")
                == "ipc.stop (pvh): the last line does not match ^panic: cpu 3: enough$")
    }

    @Test func theReportHasTheSameReason() async throws {
        let check = try await check([("ipc/stop.c", "(\"enough\")", "(\"too much\")")])
        #expect(check.detail == "ipc.stop (pvh): the report says too much")
        #expect(check.evidence.contains("  panic: cpu 3: enough"))
        // Other last words than the panic's are allowed where they are asked for; some reason there must be.
        let words = [
            ("ipc/stop.c", "SAY(\"panic: cpu 3: enough\");", ""), ("acceptance/ipc/stop.panic", "^panic: cpu 3: enough$\n", ""),
        ]
        #expect(try await self.check(words).status == .passed)
        #expect(
            try await self.check(words + [("ipc/stop.c", "(\"enough\")", "(\"\")")]).detail
                == "ipc.stop (pvh): the report says nothing")
    }

    @Test func whatEndsOtherwiseIsRefused() async throws {
        let comesBack = [("acceptance/ipc/stop.c", "{ stop(); }", "{ static volatile int often; if (often) stop(); }")]
        let back = try await check(comesBack)
        #expect(back.detail == "ipc.stop (pvh): the harness refused: no panic came")
        let hang = try await refusal("ipc/stop.c", "harness_panic(\"enough\")", "for (;;) __asm__(\"cli; hlt\")", seconds: 2)
        #expect(hang == "ipc.stop (pvh): hang in ipc.stop after 2 s")
        #expect(
            try await refusal("ipc/stop.c", "harness_panic(\"enough\")", "for (;;) __asm__(\"lidt 0(%%rsp); ud2\" :: )")
                .hasPrefix("ipc.stop (pvh): reset (triple fault?)"))
        let words = try await check([("acceptance/ipc/stop.panic", Self.expected, "")]).detail
        #expect(words == "ipc.stop (pvh): there is no acceptance/ipc/stop.panic")
    }

    @Test func whatTheBaseHasMustNotGo() async throws {
        let check = try await check(base: ["ipc.other", "ipc.stop"])
        #expect(check.status == .failed && check.detail == "ipc.other is gone")
    }
}
