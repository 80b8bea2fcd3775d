import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// Commits in a real workspace, judged.
@Suite struct GateTests {
    private static let good = "#include \"harness.h\"\n\nKTEST(demo, one)\n{\n\tKASSERT_EQ(1 + 1, 2);\n}\n"

    private func judge(
        _ edits: [String: TestWorkspace.Edit], task: TaskMessage? = .sample(), in ws: TestWorkspace, seconds: Double = 10
    ) async throws -> Judgement {
        var gate = Gate(workspace: ws.workspace)
        gate.limits.bootSeconds = seconds
        let judgement = try await gate.judge(
            commit: try await ws.commit(edits), base: try await ws.workspace.main(), task: task, purpose: "test")
        #expect(judgement.checks.map(\.name) == CheckName.all)
        // The checkout is gone.
        #expect(try Files.list(ws.workspace.root.appending(".auton/worktree")) == [])
        return judgement
    }

    private func failure(_ judgement: Judgement) -> [String] {
        judgement.checks.filter { $0.status == .failed }.map { "\($0.name): \($0.detail)" }
    }

    private func states(_ judgement: Judgement) -> [String: Check.Status] {
        Dictionary(uniqueKeysWithValues: judgement.checks.map { ($0.name, $0.status) })
    }

    @Test func aGoodCandidate() async throws {
        let ws = try await TestWorkspace()
        let judgement = try await judge(["tests/demo.c": .write(Self.good)], in: ws)
        #expect(failure(judgement) == [])
        #expect(judgement.accepted)
        #expect(judgement.tests.first { $0.name == "demo.one" }?.outcome == .ok)
        #expect(states(judgement)["acceptance"] == .passed)
        #expect(states(judgement)["regression"] == .passed)
        #expect(states(judgement)["console"] == .skipped)
        #expect(judgement.tree == (try await ws.git.tree(of: judgement.commit)))
    }

    @Test func nothingChanged() async throws {
        let judgement = try await judge([:], in: try await TestWorkspace())
        #expect(failure(judgement) == ["changes: nothing is changed"])
        #expect(states(judgement)["build"] == .skipped)
    }

    /// All diff rules are looked at, and nothing is built after one is broken.
    @Test func everyBrokenRuleIsTold() async throws {
        let ws = try await TestWorkspace(adding: ["tests/old.c": Self.good])
        let judgement = try await judge(
            ["acceptance/boot.c": .write("\n"), "tests/old.c": .delete, "tests/passwd.c": .link(to: "/etc/passwd")], in: ws)
        #expect(
            failure(judgement) == [
                "scope: acceptance/boot.c: not one of the task's paths (tests/)",
                "protected: acceptance/boot.c: protected, only the user may change it",
                "weakened-tests: tests/old.c: \(WeakenedTestsRule.advice) (the file is gone)",
                "files: tests/passwd.c: a symbolic link",
            ])
        #expect(states(judgement)["build"] == .skipped)
        #expect(!judgement.accepted)
    }

    @Test func aBuildThatFails() async throws {
        let judgement = try await judge(["tests/demo.c": .write("int x = ;\n")], in: try await TestWorkspace())
        #expect(failure(judgement) == ["build: 1 error"])
        let evidence = judgement.checks.first { $0.name == "build" }?.evidence ?? []
        #expect(evidence.first == "tests/demo.c:1:9: error: expected expression before ';' token")
        #expect(states(judgement)["boot"] == .skipped)
    }

    @Test func aBootThatHangs() async throws {
        let code = "#include \"harness.h\"\nKTEST(demo, hangs) { for (;;); }\n"
        let judgement = try await judge(["tests/demo.c": .write(code)], in: try await TestWorkspace(), seconds: 3)
        #expect(failure(judgement) == ["boot: hang in demo.hangs after 3 s"])
        #expect(states(judgement)["acceptance"] == .skipped)
    }

    /// The tests are as they were; what they test is not.
    @Test func aTestThatPassedOnTheBase() async throws {
        let test = "#include \"harness.h\"\nbool ready(void);\nKTEST(demo, one)\n{\n\tif (!ready())\n\t\tKSKIP(\"x\");\n}\n"
        let ready = "#include <stdbool.h>\nbool ready(void);\nbool ready(void) { return true; }\n"
        let ws = try await TestWorkspace(adding: ["tests/demo.c": test, "mm/ready.c": ready])
        let skipped = try await judge(
            ["mm/ready.c": .write(ready.replacing("true", with: "false"))], task: .sample(paths: ["mm/"]), in: ws)
        #expect(failure(skipped) == ["regression: 1 test passed on the base: demo.one"])
        #expect(skipped.checks.first { $0.status == .failed }?.evidence == ["demo.one: skip"])
    }

    @Test func acceptance() async throws {
        let ws = try await TestWorkspace()
        let file = ["tests/demo.c": TestWorkspace.Edit.write(Self.good + "KTEST(demo, skips) { KSKIP(\"x\"); }\n")]
        let absent = try await judge(file, task: .sample(accept: ["demo.one", "nosuch.*"]), in: ws)
        #expect(failure(absent) == ["acceptance: nosuch.*: no such test"])
        #expect(failure(try await judge(file, task: .sample(accept: ["demo.*"]), in: ws)) == ["acceptance: demo.skips: skip"])
        #expect(
            failure(try await judge(file, task: .sample(accept: []), in: ws))
                == ["acceptance: the task names no test that shows it done"])
        #expect(try await judge(file, task: .sample(role: .architect, accept: []), in: ws).accepted)
        // The user's `lib.mem*` are there once lib/string.c is.
        let own = ["tests/demo.c": TestWorkspace.Edit.write(Self.good.replacing("demo, one", with: "lib, memory_ready"))]
        #expect(
            failure(try await judge(own, task: .sample(accept: ["lib.mem*"]), in: ws))
                == ["acceptance: lib.mem*: the user's tests of that name were not built"])
    }

    @Test func aTesterAddsTests() async throws {
        let ws = try await TestWorkspace()
        let tester = TaskMessage.sample(role: .tester, accept: [])
        let good = Self.good.replacing("1 + 1", with: "sizeof first / sizeof *first").replacing(
            "KTEST", with: "static int first[2];\nKTEST")
        #expect(try await judge(["tests/demo.c": .write(good)], task: tester, in: ws).accepted)
        let none = try await judge(["tests/demo.c": .write("int nothing;\n")], task: tester, in: ws)
        #expect(failure(none) == ["new-tests: no test that passes is new"])
        let empty = good + "KTEST(demo, two)\n{\n}\n"
        #expect(
            failure(try await judge(["tests/demo.c": .write(empty)], task: tester, in: ws))
                == ["new-tests: asserts nothing of the kernel: demo.two"])
    }

    @Test func byHandThereIsNoTask() async throws {
        let judgement = try await judge(["mm/x.c": .write("int x;\n")], task: nil, in: try await TestWorkspace())
        #expect(judgement.accepted)
        #expect(states(judgement)["scope"] == .skipped)
    }

    @Test func aBrokenBaseIsNoMeasure() async throws {
        let ws = try await TestWorkspace(adding: ["mm/x.c": "int x = ;\n"])
        let commit = try await ws.commit(["mm/x.c": .write("int x;\n")])
        var gate = Gate(workspace: ws.workspace)
        let main = try await ws.workspace.main()
        await #expect { try await gate.judge(commit: commit, base: main, task: nil, purpose: "x") } throws: { error in
            (error as? AutonError)?.what == "the base itself does not pass: build: 1 error"
        }
        gate.acceptsBrokenBase = true
        let judgement = try await gate.judge(commit: commit, base: main, task: nil, purpose: "x")
        #expect(judgement.accepted)
        #expect(states(judgement)["regression"] == .skipped)
    }

    @Test func resultsAreKeptByTree() async throws {
        let ws = try await TestWorkspace()
        let good = try await judge(["tests/demo.c": .write(Self.good)], in: ws)
        let base = try await ws.git.tree(of: "main")
        #expect(TreeRecord.find(tree: good.tree, in: ws.workspace)?.tests == good.tests)
        #expect(TreeRecord.find(tree: base, in: ws.workspace)?.passed.isEmpty == false)
        let bad = try await judge(["tests/demo.c": .write(Self.good.replacing("1 + 1", with: "1"))], in: ws)
        #expect(TreeRecord.find(tree: bad.tree, in: ws.workspace) == nil)
        // A record is what the base is measured by; one that is damaged is made again.
        let path = ws.workspace.cache.appending("boot-\(base).json")
        try Files.write(path, Array("{".utf8), sync: false)
        #expect(try await judge(["tests/demo.c": .write(Self.good)], in: ws).accepted)
        #expect(TreeRecord.find(tree: base, in: ws.workspace) != nil)
    }

    /// A candidate's build goes on from that of main's tree, and comes to the same image as one from nothing.
    @Test func buildsGoOnFromMains() async throws {
        let ws = try await TestWorkspace(adding: ["mm/x.c": "extern const char x[9];\nconst char x[9] = \"zqzqzqzq\";\n"])
        let first = try await ws.commit(["tests/demo.c": .write(Self.good)]), base = try await ws.workspace.main()
        var main = Gate(workspace: ws.workspace)
        main.isOfMain = true
        let task = TaskMessage.sample(paths: ["tests/", "mm/"])
        let merged = try await main.judge(commit: first, base: base, task: task, purpose: "main")
        #expect(merged.accepted)
        // So is what it was measured against.
        let builds = BuildCache(workspace: ws.workspace)
        #expect(builds.kept(try await ws.workspace.git.tree(of: base)) != nil)
        try await ws.git.run("update-ref", "refs/heads/main", first)
        // Not if make could take something for fresh that is not: whether there is such a header may make a difference anywhere.
        for (file, goesOn) in [("mm/y.c", true), ("include/y.h", true), ("mm/y.h", false), ("common/y.c", false)] {
            let checkout = ws.workspace.root.appending(".auton/of-\(goesOn)")
            try Files.removeTree(checkout)
            try Files.createDirectories(checkout)
            builds.seed(checkout, from: merged.tree, for: Change(files: [.made(file, to: "int y;\n")]))
            #expect(Files.exists(checkout.appending("build")) == goesOn, "\(file)")
        }
        let kept = ws.workspace.cache.appending("build-\(merged.tree)")
        // As if another compiler had made it: whoever builds on it has this object.
        let object = kept.appending("obj/mm/x.c.o"), bytes = try Files.read(object)
        let commit = try await ws.commit(["tests/more.c": .write(Self.good.replacing("one", with: "two"))], on: first)
        let onMain = try await Gate(workspace: ws.workspace).judge(commit: commit, base: first, task: task, purpose: "a")
        #expect(onMain.accepted)
        let fromNothing = try await main.judge(commit: commit, base: first, task: task, purpose: "b")
        #expect(fromNothing.checks.first { $0.name == "reproducible" }?.status == .passed)
        // One image has one measure.
        func measuring(_ judgement: Judgement) -> [Check.Status] {
            judgement.checks.filter { ["origin", "counters"].contains($0.name) }.map(\.status)
        }
        #expect(measuring(onMain) == [.passed, .passed] && measuring(fromNothing) == [.skipped, .skipped])
        #expect(fromNothing.accepted && fromNothing.counters == onMain.counters && fromNothing.counters != nil)
        // What is damaged there shows as soon as the same tree is built from nothing.
        let text = try #require(bytes.firstRange(of: Array("zqzqzqzq".utf8)))
        try Files.write(object, bytes[..<text.lowerBound] + Array("qzqzqzqz".utf8) + bytes[text.upperBound...], sync: false)
        let next = try await ws.commit(["tests/third.c": .write(Self.good.replacing("one", with: "three"))], on: first)
        let damaged = try await Gate(workspace: ws.workspace).judge(commit: next, base: first, task: task, purpose: "c")
        #expect(failure(damaged) == [])
        let found = try await main.judge(commit: next, base: first, task: task, purpose: "d")
        #expect(found.checks.first { $0.name == "reproducible" }?.status == .failed)
        #expect(measuring(found) == [.passed, .passed])
    }

    /// What is built twice, at another time and in another directory, is one image. The assembler reads a clock here, and the
    /// compiler says where it is.
    @Test(arguments: [
        ("tests/clock.asm", "section .rodata\ndq __?POSIX_TIME?__\n"),
        ("tests/clock.asm", "section .rodata\ndb __?TIME?__\n"),
    ])
    func anImageThatIsAnotherEveryTime(path: String, source: String) async throws {
        let ws = try await TestWorkspace()
        let edits = ["tests/demo.c": TestWorkspace.Edit.write(Self.good), path: .write(source)]
        #expect(failure(try await judge(edits, in: ws)) == ["reproducible: another image when it was built twice"])
        let good = ["tests/demo.c": TestWorkspace.Edit.write(Self.good)]
        let first = try await judge(good, in: ws)
        #expect(first.checks.first { $0.name == "reproducible" }?.detail == "built twice, one image")
        #expect(
            try await judge(good, in: ws).checks.first { $0.name == "reproducible" }?.detail
                == "the image is the one that was built before")
        #expect(try Files.list(ws.workspace.root.appending(".auton/worktree")) == [])
    }

    @Test func oneJudgementAtATimeForAPurpose() async throws {
        let ws = try await TestWorkspace()
        let lock = try #require(try ws.workspace.lock("gate-test"))
        await #expect { try await judge(["tests/demo.c": .write(Self.good)], in: ws) } throws: { error in
            (error as? AutonError)?.status == .tryAgain
        }
        withExtendedLifetime(lock) {}
    }

    @Test(arguments: ["--output=/tmp/x", "", "main", String(repeating: "1", count: 40)]) func whatIsNoCommit(name: String)
        async throws
    {
        let ws = try await TestWorkspace(only: ["Makefile": ""])
        let gate = Gate(workspace: ws.workspace), main = try await ws.workspace.main()
        for (commit, base) in [(name, main), (main, name)] {
            await #expect { try await gate.judge(commit: commit, base: base, task: nil, purpose: "test") } throws: { error in
                (error as? AutonError)?.status == .badInput
            }
            #expect(try Files.list(ws.workspace.root.appending(".auton/worktree")) == [])
        }
    }

    @Test func manyGatesAtOnce() async throws {
        let ws = try await TestWorkspace()
        let main = try await ws.workspace.main()
        let gate = Gate(workspace: ws.workspace)
        let commits = try await [
            ws.commit(["tests/a.c": .write(Self.good)]), ws.commit(["tests/b.c": .write("int x = ;\n")]),
            ws.commit(["tests/c.c": .write(Self.good.replacing("1 + 1", with: "1"))]),
            ws.commit(["tests/d.c": .write(Self.good)]),
        ]
        let found = try await withThrowingTaskGroup(of: (Int, Judgement).self) { group in
            for (index, commit) in commits.enumerated() {
                group.addTask {
                    (index, try await gate.judge(commit: commit, base: main, task: .sample(), purpose: "many-\(index)"))
                }
            }
            return try await group.reduce(into: [Int: Judgement]()) { $0[$1.0] = $1.1 }
        }
        #expect((0..<4).map { failure(found[$0]!) } == [[], ["build: 1 error"], ["boot: 1 test failed: demo.one"], []])
    }

    /// All of a judgement but its times is the same every time.
    @Test func theSameCommitIsJudgedTheSame() async throws {
        let ws = try await TestWorkspace()
        let edits = ["tests/demo.c": TestWorkspace.Edit.write(Self.good.replacing("1 + 1", with: "1"))]
        func timeless() async throws -> Judgement {
            var judgement = try await judge(edits, in: ws)
            for index in judgement.checks.indices { judgement.checks[index].seconds = 0 }
            judgement.boots?[0].seconds = 0
            judgement.commit = ""
            return judgement
        }
        let first = try await timeless(), second = try await timeless()
        #expect(first == second)
        #expect(!first.accepted)
    }

    @Test func whatTheNextAttemptIsTold() async throws {
        let judgement = try await judge(
            ["tests/demo.c": .write(Self.good.replacing("1 + 1", with: "1"))], in: try await TestWorkspace())
        let reason = reason(for: judgement.verdict(on: AttemptID(task: "demo-001", attempt: 2)))
        #expect(reason.attempt == 2)
        #expect(reason.stage == .gate)
        #expect(reason.summary == "boot: 1 test failed: demo.one")
        #expect(
            reason.details.prefix(3) == [
                "boot: 1 test failed: demo.one", "not ok: demo.one", "  tests/demo.c:5: KASSERT_EQ(1, 2): 1 != 2",
            ])
    }

    @Test func aDirectoryInNoRepository() async throws {
        let good = try Temporary.kernel(["tests/demo.c": Self.good])
        let judgement = try await Gate.judge(directory: good.path)
        #expect(judgement.accepted)
        #expect(!Files.exists(good.path.appending("build")))
        let empty = try Temporary()
        await #expect(throws: AutonError.self) { try await Gate.judge(directory: empty.path) }
        // What is not copied is not judged, so it may not be there.
        symlink("/etc/passwd", good.path.appending("tests/users.c").string)
        mkfifo(good.path.appending("tests/pipe.c").string, 0o644)
        try good.write(["tests/large.c": ""])
        #expect(truncate(good.path.appending("tests/large.c").string, 6 << 30) == 0)
        let odd = try await Gate.judge(directory: good.path)
        #expect(
            odd.checks.first { $0.name == "files" }?.evidence == [
                "tests/large.c: 6442450944 bytes, the limit is 262144", "tests/pipe.c: neither file nor directory",
                "tests/users.c: a symbolic link",
            ])
        #expect(!odd.accepted)
    }

    @Test func theConsole() async throws {
        let tree = try Temporary()
        try tree.write(["acceptance/boot.console": "# what it prints\n^AUTON [0-9]+$\n\n^ready$\n", "boot/x86/entry.asm": ""])
        func check(_ console: [String]) throws -> Check {
            var list = Checklist()
            try list.checkConsole(console, tree: tree.path)
            return list.checks[0]
        }
        #expect(try check(["AUTON 12", "ready"]).status == .passed)
        let failed = try check(["AUTON x", "not ready"])
        #expect(failed.status == .failed)
        #expect(failed.detail == "no line of the console matches ^AUTON [0-9]+$")
        #expect(failed.evidence == ["nor ^ready$", "console:", "  AUTON x", "  not ready"])
        try tree.write(["acceptance/boot.console": "(\n"])
        #expect(throws: AutonError.self) { try check([]) }
        try Files.removeTree(tree.path.appending("boot/x86/entry.asm"))
        #expect(try check([]).status == .skipped)
    }
}
