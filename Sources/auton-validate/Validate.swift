import ArgumentParser
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonSettings
import SystemPackage

@main
struct Validate: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-validate",
        abstract: "The gate: judge what an agent committed, by its diff, its build and its boot.",
        usage: """
            auton-validate [options] TASK...
            auton-validate [options] --commit REV [--base REV]
            auton-validate [options] --directory DIR
            auton-validate [options] --diff-only [--repository DIR] [BASE] COMMIT
            """,
        discussion: """
            Checks the commit of each TASK's candidate out into a clean directory and looks at, in this order: changes, \
            scope (only the task's paths), protected (nothing of the user's), weakened-tests, reserved (nothing of the \
            harness's), ports (nor its I/O ports), disguise (code is what it looks like), files (plain ones), content \
            (UTF-8, not too large), build-output, secrets, build (warnings are errors), boot (in QEMU: the exit status, the \
            plan, every result and the boot's nonce must agree), origin (the harness was seen to send the report), counters (tests and benchmarks take \
            the same number of instructions in two boots), reproducible (a tree that was built before gives the same image), \
            regression (what passed on the base still passes), acceptance (the task's tests pass), new-tests (a tester added \
            one), console (the kernel prints what acceptance/boot.console asks for), speed (no benchmark is slower than on the base, or gone), \
            boots (on further machines, if gate.boots asks for any), panics (boots that are to end in a panic do, and say so). \
            What the agent wrote runs in the sandbox only.

            INPUT: task/TASK.json and candidate/TASK.json of the mailbox. TASK is boot-002, for its newest attempt, or \
            boot-002.1. With --commit any commit of the workspace, with --directory a kernel tree that is in no repository, \
            whose own harness and tests are believed, since there is nothing to compare them with; \
            these need no mailbox. With --diff-only two commits of any repository (--repository, else the workspace, else \
            where you are), by the rules about the change alone: nothing is built, nothing is written there. \
            With --self-check a known-good kernel and known-bad mutants of it, each of which must be refused by \
            the check that is there for it; if one is not, the gate is not to be trusted, which is 70.

            OUTPUT: verdict/TASK.json; if rejected, the next attempt in task/ with the reasons, or after the last one \
            blocked/. A verdict that is filed already is told again, and what follows from it is made up for. By hand \
            nothing is filed. On standard output one line a check, PASS, FAIL or SKIP (a tick, a cross or a dash on a terminal \
            that can show them), with its time, and the first lines that show a failure below; with --json the verdict.

            \(exitStatusHelp) A missing tool is 69, never a rejection.
            """)

    @OptionGroup var places: Places
    @OptionGroup var sandbox: SandboxOptions

    @Argument(
        help: ArgumentHelp(
            "Tasks or attempts at them; with --diff-only two commits, or one to compare with its parent.", valueName: "task"))
    var names: [String] = []

    @Option(help: ArgumentHelp("Judge this commit or branch by hand.", valueName: "rev"))
    var commit: String?

    @Option(help: ArgumentHelp("What to compare --commit with. Default: where it left main.", valueName: "rev"))
    var base: String?

    @Option(help: ArgumentHelp("Build and boot this kernel tree.", valueName: "dir"))
    var directory: String?

    @Flag(help: "Have the gate prove itself on a known-good kernel and on known-bad mutants of it.")
    var selfCheck = false

    @Flag(help: "With --self-check: be content if the same programs, tools and harness have passed it before.")
    var cached = false
    @Flag(help: "Judge the change alone.")
    var diffOnly = false

    @Option(help: ArgumentHelp("The repository of --diff-only, or a directory in it.", valueName: "dir"))
    var repository: String?

    @Option(
        help: ArgumentHelp(
            "Judge by hand as if for this task, a JSON file, whose paths the change is to keep to.", valueName: "file"))
    var task: String?

    @Option(help: ArgumentHelp("Likewise for these paths, such as lib/,boot/main.c.", valueName: "path"))
    var paths: [String] = []

    @Option(help: .setting(\.team.attempts, "n"))
    var attempts: Int?

    @Option(help: .setting(\.sandbox.bootSeconds, "s"))
    var timeout: Double?

    @Flag(help: "Print the verdict as JSON.")
    var json = false

    /// Not `validate`, which ArgumentParser calls before it has seen that an option is unknown.
    private func check() throws {
        if diffOnly { return try checkDiffOnly() }
        guard repository == nil, task == nil, paths.isEmpty else {
            throw ValidationError("--repository, --task and --paths go with --diff-only.")
        }
        let ways = [!names.isEmpty, commit != nil, directory != nil, selfCheck].filter { $0 }.count
        guard ways == 1 else { throw ValidationError("Give tasks, or --commit, or --directory, or --self-check.") }
        guard base == nil || commit != nil else { throw ValidationError("--base goes with --commit.") }
        guard !cached || selfCheck else { throw ValidationError("--cached goes with --self-check.") }
    }

    private func checkDiffOnly() throws {
        let hasOptions = commit != nil || base != nil
        guard directory == nil, !selfCheck, hasOptions ? commit != nil && names.isEmpty : (1...2).contains(names.count) else {
            throw ValidationError("With --diff-only give two commits, or one, or --commit and --base.")
        }
    }

    func run() async throws {
        try check()
        try await stage {
            let settings = try places.settings([
                SettingFlag("--attempts", \.team.attempts, attempts), SettingFlag("--timeout", \.sandbox.bootSeconds, timeout),
            ])
            if diffOnly { return try await judgeDiff(settings) }
            sandbox.apply()
            try Gate.requireTools()
            if selfCheck { return try await SelfChecking(settings: settings, cached: cached).run() }
            if let directory {
                let judgement = try await Gate.judge(
                    directory: FilePath(directory), limits: settings.sandbox.limits, demands: settings.gate.demands)
                return try show(judgement, of: directory)
            }
            if let commit {
                var gate = try gate(settings)
                gate.acceptsBrokenBase = true
                try gate.sweep()
                return try show(try await gate.judge(byHand: commit, base: base), of: commit)
            }
            return try await judgeTasks(settings)
        }
    }

    private func gate(_ settings: Settings) throws -> Gate {
        Gate(workspace: try settings.openWorkspace(), limits: settings.sandbox.limits, demands: settings.gate.demands)
    }

    private func judgeDiff(_ settings: Settings) async throws -> ExitStatus {
        try Tools.require("git")
        let workspace = Files.isDirectory(FilePath(settings.paths.workspace)) ? settings.paths.workspace : "."
        let place = try await AnyRepository(at: FilePath(repository ?? workspace))
        let name = commit ?? names.last ?? ""
        let pair = try await place.commits(name, base: base ?? (names.count == 2 ? names[0] : nil))
        let scope = try Scope.paths(paths, task: task)
        for path in scope ?? [] where !path.hasSuffix("/") {
            if try await place.isDirectory(path, in: [pair.commit, pair.base]) {
                throw AutonError(.badInput, "a directory; for what is in it write \(path)/", at: path)
            }
        }
        let judgement = try await Gate.judgeDiff(commit: pair.commit, base: pair.base, paths: scope, in: place.git)
        return try show(judgement, of: name)
    }

    /// One task's error does not keep the others from being judged; the first one is the exit status.
    private func judgeTasks(_ settings: Settings) async throws -> ExitStatus {
        let mailbox = try settings.openMailbox()
        var status = ExitStatus.done
        for name in names {
            do {
                let task = try mailbox.attempt(named: name)
                let gate = try gate(settings)
                let recording = try settings.recording(repeatedIn: mailbox)
                let desk = Desk(
                    mailbox: mailbox, gate: gate, maxAttempts: settings.team.attempts,
                    recorded: recording.map { RecordedRun($0, repeatedIn: mailbox, gate.workspace) })
                let (verdict, consequence) = try await desk.judge(task)
                try Report(json: json).print(verdict, of: verdict.name, consequence: consequence)
                if consequence != nil && status == .done { status = .refused }
            } catch let error as AutonError {
                complain(error.description)
                if status == .done || status == .refused { status = error.status }
            }
        }
        return status
    }

    private func show(_ judgement: Judgement, of name: String) throws -> ExitStatus {
        try Report(json: json).print(judgement.verdict(on: AttemptID(task: "by-hand", attempt: 1)), of: name, consequence: nil)
        return judgement.accepted ? .done : .refused
    }
}
