import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import auton_compose

/// Real kernels: the scaffold with parts on it that are each right alone.
@Suite struct ComposeTests: SmallKernels {
    let directory = try! TemporaryDirectory()

    /// Two that are too much for the table together, among two that are not in the way.
    @Test func thePairThatDoesNotFitIsBlamed() async throws {
        let workspace = try await workspace()
        let main = try await workspace.main()
        try await branch("b", ["sched/b.c": Self.taker("sched", 2)], on: main, in: workspace)
        try await branch("e", ["llm/e.c": Self.taker("llm", 1)], on: main, in: workspace)
        for (name, place) in [("a", "ipc"), ("c", "lib")] {
            try await branch(name, ["\(place)/\(name).c": Self.innocent(place)], on: main, in: workspace)
        }
        let outcome = try await compose("a", "b", "c", "e")
        #expect(outcome.status == 1, "\(outcome.errors)")
        // The harness runs suites by name: llm before sched.
        #expect(outcome.output.contains("INTERACTION sched.takes: ok alone, not-ok combined; shown by b + e"))
        #expect(outcome.output.split(separator: "\n").filter { $0.hasPrefix("INTERACTION") }.count == 1)
        // Nothing is filed, and nothing is left.
        #expect(!Files.exists(directory["mailbox/composition"]))
        #expect(try Files.list(directory["workspace/.auton/worktree"]) == [])
        #expect(try await compose("a", "b", "c").status == 0)
    }

    /// No pair shows it.
    @Test func threeTogether() async throws {
        let workspace = try await workspace()
        let main = try await workspace.main()
        for (name, place) in [("a", "ipc"), ("b", "llm"), ("c", "sched")] {
            try await branch(name, ["\(place)/\(name).c": Self.taker(place, 1)], on: main, in: workspace)
        }
        try await branch("d", ["nl/d.c": Self.innocent("nl")], on: main, in: workspace)
        let outcome = try await compose("a", "b", "c", "d")
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("INTERACTION sched.takes: ok alone, not-ok combined; shown by a + b + c"))
    }

    /// A branch on a branch is put together with what it is on, and is not blamed for it.
    @Test func aBranchOnABranch() async throws {
        let workspace = try await workspace()
        let main = try await workspace.main()
        try await branch("below", ["lib/below.c": "int below;\n"], on: main, in: workspace)
        let below = try #require(try await workspace.git.commit("below"))
        let above = Self.taker("llm", 2).replacing("KTEST", with: "extern int below;\nKTEST").replacing(
            "{ KASSERT(", with: "{ below = 1; KASSERT(")
        try await branch("above", ["llm/above.c": above], on: below, in: workspace)
        try await branch("other", ["sched/other.c": Self.taker("sched", 1)], on: main, in: workspace)
        let outcome = try await compose("above", "other", "below")
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("INTERACTION sched.takes: ok alone, not-ok combined; shown by other + above"))
    }

    /// A test that is right in company only, since another suite prepares what it needs.
    @Test func aSuiteThatIsWrongAlone() async throws {
        let workspace = try await workspace()
        let main = try await workspace.main()
        try await branch("a", ["llm/a.c": Self.taker("llm", 1)], on: main, in: workspace)
        let needs = "#include \"harness.h\"\n#include \"table.h\"\nKTEST(sched, needs) { KASSERT_EQ(table_used, 1); }\n"
        try await branch("b", ["sched/b.c": needs], on: main, in: workspace)
        try await branch("c", ["nl/c.c": Self.innocent("nl")], on: main, in: workspace)
        let outcome = try await compose("a", "b", "c")
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("INTERACTION sched.needs: not-ok alone, ok combined; shown by a + b"))
    }

    /// What is one for all is right for one, and for one after the other; and for two at the same time it is not.
    @Test func twoAtTheSameTime() async throws {
        let workspace = try await workspace()
        try Files.copyTree(Program.package.appending("Tests/Kernels/threads"), to: directory["threads"])
        var base = try directory.contents(of: "threads", without: [])
        base["lib/hold.c"] = """
            #include "hold.h"
            #include "sched.h"
            static int held;
            int hold(int n) { held = n; turn(); return held; }

            """
        base["include/hold.h"] = "#pragma once\nint hold(int n);\n"
        let main = try await workspace.commit(base.mapValues { $0 }, on: workspace.main())
        try await workspace.moveMain(to: main)
        func holder(_ suite: String, _ n: Int) -> [String: String] {
            [
                "\(suite)/\(suite).c": """
                #include "harness.h"
                #include "hold.h"
                KTEST(\(suite), beside_holds) { for (int i = 0; i < 9; i++) KASSERT_EQ(hold(\(n)), \(n)); }

                """
            ]
        }
        let innocent = Self.innocent("nl").replacing("adds", with: "beside_adds")
        try await branch("a", holder("ipc", 1), on: main, in: workspace)
        try await branch("b", holder("llm", 2), on: main, in: workspace)
        try await branch("c", ["nl/c.c": innocent], on: main, in: workspace)
        let outcome = try await compose("a", "b", "c")
        #expect(outcome.status == 1, "\(outcome.errors)")
        #expect(
            outcome.output.contains("INTERACTION ipc.beside_holds: ok alone, not-ok beside others (seed 1); shown by a + b"),
            "\(outcome.output)")
        #expect(try await compose("a", "c").status == 0)
        #expect(try await compose("b", "c").status == 0)
    }

    @Test func textualConflict() async throws {
        let workspace = try await workspace()
        let main = try await workspace.main()
        try await branch("a", ["lib/x.c": "int a;\n"], on: main, in: workspace)
        try await branch("b", ["lib/x.c": "int b;\n"], on: main, in: workspace)
        let outcome = try await compose("a", "b")
        #expect(outcome.status == 1)
        #expect(outcome.errors == "auton-compose: the branches are in conflict: a, b\n")
        #expect(try await compose("a", "nosuch").errors == "auton-compose: no such commit or branch: nosuch\n")
    }

    @Test func mergesOfTheMailbox() async throws {
        let files = [
            ("lib-001", ["lib/a.c": Self.innocent("lib")]), ("llm-001", ["llm/b.c": Self.taker("llm", 2)]),
            ("sched-001", ["sched/c.c": Self.taker("sched", 1)]),
        ]
        let mailbox = try await merge(files, in: try await workspace())
        let outcome = try await compose()
        #expect(outcome.status == 1)
        #expect(outcome.output.contains("INTERACTION sched.takes: ok alone, not-ok combined; shown by llm-001 + sched-001"))
        let filed = try #require(try mailbox.all(Composition.self).first)
        #expect(filed.interactions.map(\.blamed) == [["llm-001", "sched-001"]])
        #expect(filed.configurations.map(\.name).contains("lib-001"))
        // What is filed is told again, unless something else is asked for.
        #expect(try await compose().output == outcome.output)
        let pairs = try await compose("--all-pairs", "--json")
        #expect(pairs.status == 1)
        #expect(pairs.output.contains("\"all_pairs\" : true"), "\(pairs.output.prefix(300))")
        #expect(try mailbox.all(Composition.self).map(\.demand?.allPairs) == [false])
    }

    /// A candidate looked at by itself is no composition of the main that it becomes.
    @Test func oneBranchIsNotFiled() async throws {
        let workspace = try await workspace()
        let files = ["llm/b.c": Self.taker("llm", 1)]
        try await branch("one", files, on: try await workspace.main(), in: workspace)
        #expect(try await compose("one").status == 0)
        let mailbox = try await merge([("llm-001", files)], in: workspace)
        #expect(try mailbox.all(Composition.self).isEmpty)
        #expect(try await compose().status == 0)
        #expect(try mailbox.all(Composition.self).first?.configurations.contains { $0.name == "llm-001" } == true)
    }

    /// What somebody commits to main between two merges can be to blame, too.
    @Test func aCommitBetweenMerges() async throws {
        let workspace = try await workspace(), base = try await workspace.main()
        _ = try await merge([("llm-001", ["llm/b.c": Self.taker("llm", 1)])], in: workspace)
        let byHand = try await workspace.commit(["lib/h.c": Self.taker("lib", 1)].mapValues { $0 }, on: workspace.main())
        try await workspace.moveMain(to: byHand)
        let others = [("nl-001", ["nl/n.c": Self.innocent("nl")]), ("sched-001", ["sched/c.c": Self.taker("sched", 1)])]
        _ = try await merge(others, on: base, in: workspace)
        let outcome = try await compose()
        #expect(outcome.status == 1)
        let shown = "sched.takes: ok alone, not-ok combined; shown by llm-001 + \(byHand.prefix(12)) + sched-001"
        #expect(outcome.output.contains("INTERACTION \(shown)\n"), "\(outcome.output)")
    }

    /// What a change that nobody has seen says of what it has no part in is not asked for, unless something is found.
    @Test func aChangeIsAskedForItsOwn() async throws {
        let files = [("lib-001", ["lib/a.c": Self.innocent("lib")]), ("llm-001", ["llm/b.c": Self.taker("llm", 1)])]
        let mailbox = try await merge(files, in: try await workspace())
        #expect(try await compose().status == 0)
        let filed = try #require(try mailbox.all(Composition.self).first)
        let tests = Dictionary(filed.configurations.map { ($0.name, $0.tests.map(\.name)) }, uniquingKeysWith: { $1 })
        let base = try #require(tests["base"])
        #expect(base.count > 1 && tests["combined"] == (base + ["lib.adds", "llm.takes"]).sorted())
        #expect(tests["lib-001"] == [base[0], "lib.adds"])
        #expect(tests["llm-001"] == [base[0], "llm.takes"])
    }

    /// Two that do not go together, and a third that hides it; and three that have nothing to do with these, and are left out with them.
    @Test(arguments: [false, true]) func whatHidesIsLeftOut(guilty: Bool) async throws {
        let workspace = try await workspace()
        func base(_ name: String) -> [String: String] {
            ["lib/\(name).c": "int \(name)(int n);\nint \(name)(int n) { static int sum; return sum += n; }\n"]
        }
        func user(_ suite: String, of name: String, _ n: Int, _ most: Int) -> [String: String] {
            [
                "\(suite)/u.c":
                    "#include \"harness.h\"\nextern int \(name)(int n);\nKTEST(\(suite), u) { KASSERT(\(name)(\(n)) <= \(most)); }\n"
            ]
        }
        let main = try await workspace.commit(
            base("one").merging(base("two")) { $1 }.mapValues { $0 }, on: workspace.main())
        try await workspace.moveMain(to: main)
        // By their names, one test comes after the other.
        for (name, files) in [
            ("a", user("hv", of: "one", 1, 2)), ("b", user("ipc", of: "one", -1, 9)),
            ("c", user("nl", of: "one", 1, guilty ? 1 : 2)),
            ("d", user("drivers", of: "two", 1, 3)), ("e", user("llm", of: "two", 1, 3)), ("f", user("sched", of: "two", 1, 3)),
        ] {
            try await branch(name, files, on: main, in: workspace)
        }
        let outcome = try await compose("a", "b", "c", "d", "e", "f")
        #expect(outcome.status == (guilty ? 1 : 0), "\(outcome.output)")
        // The base, the whole, six alone, and three without two.
        if !guilty { #expect(outcome.output.contains("\n11 builds, "), "\(outcome.output)") }
        #expect(outcome.output.contains("without b, e") == guilty, "\(outcome.output)")
        #expect(outcome.output.contains("shown by a + c") == guilty, "\(outcome.output)")
    }
}
