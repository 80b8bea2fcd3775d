import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// The program itself, on a mailbox and a workspace.
@Suite struct ValidateTests {
    static let program = FilePath("/proc/self/exe").resolved.removingLastComponent().appending("auton-validate")
    private static let good = "#include \"harness.h\"\n\nKTEST(demo, one)\n{\n\tKASSERT_EQ(1 + 1, 2);\n}\n"
    private static let bad = good.replacing("1 + 1", with: "1")

    private let ws: TestWorkspace
    private let mailbox: Mailbox

    init() async throws {
        ws = try await TestWorkspace()
        mailbox = Mailbox(ws.directory.path.appending("mailbox"))
        try mailbox.prepare()
    }

    private func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> CommandResult {
        var command = Command(
            Self.program.string, ["--mailbox", mailbox.root.string, "--workspace", ws.workspace.root.string] + arguments)
        command.environment.merge(environment) { _, new in new }
        return try await command.run()
    }

    private func file(_ task: TaskMessage, _ code: String, outcome: Candidate.Outcome = .finished) async throws {
        try mailbox.file(task)
        let commit = try await ws.commit(["tests/demo.c": .write(code)]), main = try await ws.workspace.main()
        try mailbox.file(
            Candidate(
                task: task.task, attempt: task.attempt, branch: Workspace.branch(task.id), commit: commit,
                tree: try await ws.git.tree(of: commit), base: main, baseTree: try await ws.git.tree(of: main), outcome: outcome,
                summary: "I could not\nfind out.",
                provenance: Provenance(model: "m", transcript: "sha256:0", turns: 1, usage: TokenUsage())))
    }

    @Test func anAcceptedCandidate() async throws {
        try await file(.sample(), Self.good)
        let result = try await run("demo-001")
        #expect(result.ending == .exited(0), "\(result.errors.text)")
        #expect(result.errors.text == "")
        let lines = result.line.split(separator: "\n").map(String.init)
        #expect(
            lines.filter { !$0.hasPrefix(" ") }.map { $0.prefix(4) } == CheckName.all.map {
                ["new-tests", "console", "boots", "panics"].contains($0) ? "SKIP" : "PASS"
            } + ["demo"])
        #expect(lines.last == "demo-001.1 accepted")
        let sizes = try #require(lines.first { $0.hasPrefix("     .note 24, .boot.text 161, ") })
        let verdict = try mailbox.get(Verdict.self, "demo-001.1")
        #expect(verdict.accepted)
        let text = try #require(verdict.sections?.first { $0.name == ".text" }), base = try #require(text.base)
        #expect(text.bytes > base)
        #expect(sizes.contains(", .text \(text.bytes) (+\(text.bytes - base)), "))
        #expect(verdict.counters?.tests.map(\.name) == verdict.tests.map(\.name))
        #expect(try mailbox.names(.task) == ["demo-001.1"])
    }

    /// What is good enough now, and was not for the gate of a run that is repeated, is followed by what was recorded.
    @Test func aRecordedRejectionIsFollowed() async throws {
        let recording = Mailbox(ws.directory.path.appending("recording")), task = TaskMessage.sample()
        try recording.prepare()
        try recording.file(task.next(because: Reason(attempt: 1, stage: .gate, summary: "too slow", details: [])))
        try await file(task, Self.good)
        for _ in 1...2 {
            let result = try await run("demo-001", environment: ["AUTON_SCHEDULE": recording.root.string])
            #expect(result.ending == .exited(1))
            #expect(result.line.hasSuffix("demo-001.1 accepted: it was rejected when it was recorded, demo-001.2 is filed"))
            try Files.removeTree(mailbox.root.appending("task/demo-001.2.json"))
        }
        #expect(try await run("demo-001.1").ending == .exited(0))
    }

    /// So is what the gate finds now, of what was accepted then and a reviewer sent back: the conversation that was recorded goes on from that.
    @Test func aRecordedReviewIsFollowed() async throws {
        let recording = Mailbox(ws.directory.path.appending("recording")), task = TaskMessage.sample()
        let reason = Reason(attempt: 1, stage: .review, summary: "one does not hold", details: [])
        try recording.prepare()
        try recording.file(task.next(because: reason))
        try recording.file(
            Verdict(
                task: task.task, attempt: 1, commit: "c", tree: "t", accepted: true, checks: [], tests: [], console: []))
        try await file(task, Self.bad)
        let result = try await run("demo-001", environment: ["AUTON_SCHEDULE": recording.root.string])
        #expect(result.ending == .exited(1), "\(result.errors.text)")
        #expect(result.line.hasSuffix("demo-001.1 rejected: demo-001.2 is filed"))
        #expect(try mailbox.get(TaskMessage.self, "demo-001.2").reasons == [reason])
    }

    @Test func aRejectedCandidateGetsAnotherAttempt() async throws {
        try await file(.sample(), Self.bad)
        let result = try await run("demo-001.1")
        #expect(result.ending == .exited(1))
        #expect(result.output.text.contains("FAIL boot"))
        #expect(result.output.text.contains("     not ok: demo.one\n"))
        #expect(result.line.hasSuffix("demo-001.1 rejected: demo-001.2 is filed"))
        let next = try mailbox.get(TaskMessage.self, "demo-001.2")
        #expect(next.reasons.map(\.summary) == ["boot: 1 test failed: demo.one"])
        #expect(next.reasons == [reason(for: try mailbox.get(Verdict.self, "demo-001.1"))])
    }

    @Test func theLastAttemptIsFollowedByNone() async throws {
        try await file(.sample(), Self.bad)
        let result = try await run("demo-001", environment: ["AUTON_ATTEMPTS": "1"])
        #expect(result.ending == .exited(1))
        #expect(result.line.hasSuffix("demo-001.1 rejected: demo-001 is blocked after 1 attempt"))
        #expect(try mailbox.get(Blocked.self, "demo-001").reasons.count == 1)
        #expect(try mailbox.names(.task) == ["demo-001.1"])
    }

    @Test func aFiledVerdictStands() async throws {
        try await file(.sample(), Self.bad)
        let first = try await run("demo-001.1", "--json")
        // As if it had been killed before it filed the next attempt; and what it judged is not to be had any more.
        try Files.removeTree(mailbox.path(.task, "demo-001.2"))
        try Files.removeTree(mailbox.path(.candidate, "demo-001.1"))
        let second = try await run("demo-001.1", "--json")
        #expect(second.ending == .exited(1))
        #expect(second.output == first.output)
        #expect(mailbox.has(.task, "demo-001.2"))
        #expect(try Mailbox.decode(Verdict.self, from: first.output.bytes) == (try mailbox.get(Verdict.self, "demo-001.1")))
    }

    @Test func whoGaveUpIsNotBuilt() async throws {
        try await file(.sample(), Self.good, outcome: .gaveUp)
        let result = try await run("demo-001")
        #expect(result.ending == .exited(1))
        #expect(
            result.line.split(separator: "\n") == [
                "FAIL finished    0ms  the agent gave up", "     I could not", "     find out.",
                "demo-001.1 rejected: demo-001.2 is filed",
            ])
        #expect(try mailbox.get(Verdict.self, "demo-001.1").checks.map(\.name) == ["finished"])
    }

    @Test func oneBadNameDoesNotStopTheOthers() async throws {
        try await file(.sample(), Self.good)
        let result = try await run("nosuch-001", "demo-001")
        #expect(result.ending == .exited(65))
        #expect(result.errors.text == "auton-validate: no such task: nosuch-001\n")
        #expect(result.line.hasSuffix("demo-001.1 accepted"))
    }

    @Test func noCandidate() async throws {
        try mailbox.file(TaskMessage.sample())
        let result = try await run("demo-001")
        #expect(result.ending == .exited(65))
        #expect(result.errors.text == "auton-validate: no such candidate: \(mailbox.path(.candidate, "demo-001.1"))\n")
    }

    @Test func aCandidateOfNothing() async throws {
        try await file(.sample(), Self.good)
        var candidate = try mailbox.get(Candidate.self, "demo-001.1")
        candidate.commit = String(repeating: "1", count: 40)
        try Files.removeTree(mailbox.path(.candidate, "demo-001.1"))
        try mailbox.file(candidate)
        let result = try await run("demo-001")
        #expect(result.ending == .exited(65))
        #expect(!mailbox.has(.verdict, "demo-001.1"))
    }

    @Test func byHandNothingIsFiled() async throws {
        let commit = try await ws.commit(["tests/demo.c": .write(Self.good)])
        let result = try await run("--commit", commit)
        #expect(result.ending == .exited(0), "\(result.errors.text)")
        #expect(result.line.hasSuffix("\(commit) accepted"))
        #expect(try mailbox.names(.verdict) == [])
        #expect(try await run("--commit", commit, "--base", commit).ending == .exited(1))
        #expect(try await run("--commit", "nosuch").ending == .exited(65))
    }

    /// On a terminal of people who can read them, ticks; words for scripts, whatever the locale, and in the C locale.
    @Test func ticksAreForTerminals() async throws {
        let commit = try await ws.commit([:])
        func shown(_ command: String, _ locale: String) async throws -> [String] {
            let line = "\(Self.program) --workspace \(ws.workspace.root) --diff-only main \(commit)\(command)"
            var script = Command("script", ["--quiet", "--return", "--command", line, "/dev/null"])
            script.environment["LC_ALL"] = locale
            let result = try await script.run()
            #expect(result.ending == .exited(command.isEmpty ? 1 : 0))
            return result.output.text.split(whereSeparator: \.isNewline).map { String($0.prefix { $0 != " " }) }
        }
        #expect(try await shown("", "C.UTF-8").prefix(3) == ["✗", "–", "✓"])
        #expect(try await shown("", "C").prefix(3) == ["FAIL", "SKIP", "PASS"])
        #expect(try await shown(" | cat", "C.UTF-8").prefix(3) == ["FAIL", "SKIP", "PASS"])
    }

    /// All of a verdict but its times, and whether there was one on the same tree before, is the same every time.
    private static func timeless(_ result: CommandResult) throws -> Verdict {
        var verdict = try Mailbox.decode(Verdict.self, from: result.output.bytes)
        verdict.checks.removeAll { $0.name == CheckName.reproducible }
        for index in verdict.checks.indices { verdict.checks[index].seconds = 0 }
        verdict.boots = verdict.boots?.map { BootResult(name: $0.name, outcome: $0.outcome, seconds: 0, detail: $0.detail) }
        return verdict
    }

    /// Good and bad ones of one workspace, judged at once as tasks and by hand: each as if it were alone.
    @Test func severalAtOnce() async throws {
        let codes = [
            "a": Self.good, "b": Self.bad.replacing("one", with: "two"), "c": "int x = ;\n",
            "d": Self.good.replacing("one", with: "four"),
            "e": "#include \"harness.h\"\nKTEST(demo, five) { for (;;); }\n",
        ]
        let main = try await ws.workspace.main()
        var commits: [String: String] = [:]
        for (name, code) in codes {
            let commit = try await ws.commit(["tests/\(name).c": .write(code)])
            commits[name] = commit
            try mailbox.file(TaskMessage.sample("\(name)-001"))
            try mailbox.file(
                Candidate(
                    task: "\(name)-001", attempt: 1, branch: "b", commit: commit, tree: try await ws.git.tree(of: commit),
                    base: main,
                    baseTree: try await ws.git.tree(of: main), outcome: .finished, summary: "",
                    provenance: Provenance(model: "m", transcript: "sha256:0", turns: 1, usage: TokenUsage())))
        }
        let places = ["--mailbox", mailbox.root.string, "--workspace", ws.workspace.root.string, "--json", "--timeout", "10"]
        let judge: @Sendable ([String]) async throws -> Verdict = { candidate in
            try Self.timeless(try await Command(Self.program.string, places + candidate).run())
        }
        let atOnce = try await withThrowingTaskGroup(of: (String, Verdict).self) { group in
            for (name, commit) in commits {
                group.addTask { ("task \(name)", try await judge(["\(name)-001"])) }
                group.addTask { ("hand \(name)", try await judge(["--commit", commit])) }
            }
            return try await group.reduce(into: [String: Verdict]()) { $0[$1.0] = $1.1 }
        }
        for (name, commit) in commits {
            let alone = try await judge(["--commit", commit])
            #expect(atOnce["hand \(name)"] == alone)
            #expect(alone.accepted == ["a", "d"].contains(name))
            let failed = { (verdict: Verdict?) in verdict?.checks.filter { $0.status == .failed } }
            #expect(failed(atOnce["task \(name)"]) == failed(alone))
            #expect(atOnce["task \(name)"]?.change == alone.change)
        }
        #expect(try Files.list(ws.workspace.root.appending(".auton/worktree")) == [])
    }

    @Test func usage() async throws {
        #expect(try await run().ending == .exited(64))
        #expect(try await run("demo-001", "--commit", "main").ending == .exited(64))
        #expect(try await run("demo-001", "--base", "main").ending == .exited(64))
        #expect(try await run("demo-001", "--attempts", "0").ending == .exited(64))
    }

    @Test(arguments: [
        ("bwrap", "bubblewrap"), ("qemu-system-x86_64", "qemu-system-x86"), ("nasm", "nasm"), ("make", "make"), ("gcc", "gcc"),
    ])
    func aMissingToolIsNobodysFault(tool: String, package: String) async throws {
        try await file(.sample(), Self.good)
        let tools = ws.directory.path.appending("bin")
        try Files.createDirectories(tools)
        for name in ["git", "bwrap", "prlimit", "setpriv", "make", "gcc", "nasm", "ld", "qemu-system-x86_64"] where name != tool {
            _ = try await Command("ln", ["-s", "/usr/bin/\(name)", tools.appending(name).string]).run()
        }
        let result = try await run("demo-001", environment: ["PATH": tools.string])
        #expect(result.ending == .exited(69))
        #expect(result.errors.text == "auton-validate: \(tool) is missing: install the package \(package), or run make deps\n")
        #expect(!mailbox.has(.verdict, "demo-001.1"))
        #expect(try mailbox.names(.task) == ["demo-001.1"])
    }

    /// A boot that is asked for by its name is not left out; one of all that there are is, and that is told.
    @Test func aCDWithoutGRUB() async throws {
        let kernel = try Temporary.kernel(try Scaffold.kernel(named: "disk"))
        let tools = ws.directory.path.appending("bin")
        try Files.createDirectories(tools)
        for name in [
            "git", "bwrap", "prlimit", "setpriv", "make", "gcc", "nasm", "ld", "qemu-system-x86_64", "sha256sum", "taskset",
        ] {
            _ = try await Command("ln", ["-s", "/usr/bin/\(name)", tools.appending(name).string]).run()
        }
        let environment = ["PATH": tools.string],
            missing = "grub-mkrescue is missing: install the package grub-common, or run make deps-dev"
        let asked = try await run("--directory", kernel.path.string, "--set", "gate.boots=pvh,iso", environment: environment)
        #expect(asked.ending == .exited(69))
        #expect(asked.errors.text == "auton-validate: \(missing)\n")
        let all = try await run("--directory", kernel.path.string, "--set", "gate.boots=all", environment: environment)
        #expect(all.ending == .exited(0), "\(all.output.text)")
        #expect(all.output.text.contains("pvh-smp4, pvh-64m, pvh-4g, disk; iso skipped: \(missing)"))
        #expect(try await run("--directory", kernel.path.string, "--set", "gate.boots=cd").ending == .exited(64))
    }

    @Test func theSettingsBoundTheBuild() async throws {
        let tree = try Temporary()
        try tree.write(["Makefile": "all:\n\t@ulimit -v >&2; ulimit -f >&2; ulimit -p >&2; sleep 20\n"])
        let limits = ["build_seconds=3", "memory_mib=300", "file_mib=2", "processes=100"].flatMap {
            ["--set", "sandbox.\($0)"]
        }
        let result = try await Command(Self.program.string, ["--directory", tree.path.string] + limits).run()
        #expect(result.ending == .exited(1))
        let lines = result.output.text.split(separator: "\n").map { $0.drop { $0 == " " } }.drop { !$0.hasPrefix("FAIL") }
        #expect(lines.first?.hasSuffix("took more than 3 s") == true)
        #expect(lines.dropFirst().prefix(3) == ["307200", "4096", "100"])
    }
}

extension FilePath {
    fileprivate var resolved: FilePath {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(string, &buffer, buffer.count - 1)
        return FilePath(String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}
