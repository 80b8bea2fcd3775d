import AutonKit
import AutonMessages
import TestSupport
import Testing

/// Who is to blame, and for what nobody is.
@Suite struct BlameTests: SmallKernels {
    let directory = try! TemporaryDirectory()

    /// Two tests of which the second needs the first.
    private static let dependent = """
        #include "harness.h"
        static int set;
        KTEST(lib, first) { set = 1; }
        KTEST(lib, second) { KASSERT_EQ(set, 1); }

        """

    /// Branches on main, composed.
    private func compose(_ branches: [(String, [String: String])], on base: [String: String] = [:]) async throws -> Outcome {
        let workspace = try await workspace()
        try await workspace.moveMain(to: try await workspace.commit(base.mapValues { $0 }, on: workspace.main()))
        for (name, files) in branches { try await branch(name, files, on: try await workspace.main(), in: workspace) }
        return try await compose(branches.map(\.0))
    }

    private func innocents(_ names: String...) -> [(String, [String: String])] {
        names.map { ($0, ["ipc/\($0).c": Self.innocent("ipc").replacing("adds", with: "adds_\($0)")]) }
    }

    @Test func whatOneShowsByItselfIsItsOwn() async throws {
        let outcome = try await compose([("a", ["lib/a.c": Self.dependent])] + innocents("b", "c", "d"))
        #expect(outcome.status == 1)
        #expect(
            outcome.output.contains("INTERACTION lib.second: ok alone, not-ok in order reverse; shown by a\n"),
            "\(outcome.output)")
    }

    @Test func whatTheBaseShowsIsNobodys() async throws {
        let outcome = try await compose(innocents("a", "b"), on: ["lib/base.c": Self.dependent])
        #expect(outcome.status == 1)
        #expect(
            outcome.output.contains("not-ok in order reverse; shown by what is there without any change\n"),
            "\(outcome.output)")
    }

    /// A test that waits for something which a change brings.
    @Test func whatIsMendedIsNoInteraction() async throws {
        let base = [
            "lib/ready.c": "int lib_ready;\n",
            "lib/wait.c": """
            #include "harness.h"
            extern int lib_ready;
            KTEST(lib, waits) { if (!lib_ready) KSKIP("not ready"); }
            KTEST(lib, works) { KASSERT_EQ(1, 1); }

            """,
        ]
        let outcome = try await compose([("a", ["lib/ready.c": "int lib_ready = 1;\n"])] + innocents("b"), on: base)
        #expect(outcome.status == 0, "\(outcome.output)")
        #expect(outcome.output.contains("no interaction found"))
    }

    /// It has no result, and ends the boot when it fails.
    @Test func aBenchmarkThatFailsInCompany() async throws {
        let bench = """
            #include "harness.h"
            #include "table.h"
            KBENCH(lib, table) { for (uint64_t i = 0; i < n; i++) KASSERT(table_used < 2); }
            KBENCH(lib, then) { for (uint64_t i = 0; i < n; i++) __asm__ volatile(""); }

            """
        let outcome = try await compose(
            [("a", ["lib/a.c": bench]), ("b", ["sched/b.c": Self.taker("sched", 2)])] + innocents("c"))
        #expect(outcome.status == 1, "\(outcome.output)")
        #expect(
            outcome.output.contains("INTERACTION lib.table: ok alone, missing combined; shown by a + b\n"),
            "\(outcome.output)")
        #expect(outcome.output.split(separator: "\n").filter { $0.hasPrefix("INTERACTION") }.count == 1, "\(outcome.output)")
    }

    @Test func whatIsBuiltInCompanyOnly() async throws {
        let user = "#include \"harness.h\"\nextern int lib_help(void);\nKTEST(sched, helps) { KASSERT_EQ(lib_help(), 1); }\n"
        let outcome = try await compose(
            [("a", ["sched/a.c": user]), ("b", ["lib/b.c": "int lib_help(void);\nint lib_help(void) { return 1; }\n"])]
                + innocents("c"))
        #expect(outcome.status == 1, "\(outcome.output)")
        #expect(outcome.output.contains("INTERACTION build: missing alone, ok combined; shown by a + b\n"), "\(outcome.output)")
    }

    /// One that stands on the guilty brings it along.
    @Test func whoStandsOnTheGuiltyIsNotBlamed() async throws {
        let workspace = try await workspace(), main = try await workspace.main()
        func takes(_ n: Int, at level: String) -> String {
            """
            #include "harness.h"
            #include "table.h"
            static void take(void) { if (table_take(\(n)) < 0) __builtin_trap(); }
            INIT(\(level), take);

            """
        }
        try await branch("below", ["lib/below.c": takes(2, at: "INIT_EARLY")], on: main, in: workspace)
        try await branch("other", ["sched/other.c": takes(1, at: "INIT_MM")], on: main, in: workspace)
        let below = try #require(try await workspace.git.commit("below"))
        try await branch("above", ["llm/above.c": Self.innocent("llm")], on: below, in: workspace)
        let outcome = try await compose(["below", "other", "above"])
        #expect(outcome.status == 1)
        #expect(
            outcome.output.contains("INTERACTION boot: ok alone, missing combined; shown by below + other\n"),
            "\(outcome.output)")
    }

    @Test func theSameTwice() async throws {
        let workspace = try await workspace(), main = try await workspace.main()
        try await branch("a", ["lib/a.c": Self.innocent("lib")], on: main, in: workspace)
        #expect(try await workspace.git.moveBranch("b", to: try #require(try await workspace.git.commit("a")), from: ""))
        let outcome = try await compose(["a", "b"])
        #expect(outcome.status == 65)
        #expect(outcome.errors == "auton-compose: the same commit as a: b\n")
    }
}
