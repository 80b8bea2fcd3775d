import AutonKit
import AutonMessages
import SystemPackage

/// Judges a commit by its diff, its build and its boot, in a clean checkout of exactly that commit.
///
/// It fails closed: what cannot be seen to be right is refused, and what keeps the gate itself from looking is thrown
/// as an `AutonError`, which is nobody's fault but the machine's.
package struct Gate: Sendable {
    package let workspace: Workspace
    package var limits: RunLimits
    package var demands: GateDemands
    /// Whether to go on without a comparison if the base itself does not pass. Main always does, so that a base that
    /// does not is an error unless somebody judges by hand.
    package var acceptsBrokenBase = false
    /// Whether to build from nothing and keep what it comes to, for candidates to be built on: so main's trees are.
    package var isOfMain = false
    /// A check that always passes; only the self-check's own tests set it.
    var blindTo: String?
    /// What was built of a tree that is nearly the same, for make to go on from. Only the self-check has one, of its own
    /// specimen: what a model's tree was built to is never used again.
    var seed: FilePath?

    package init(workspace: Workspace, limits: RunLimits = RunLimits(), demands: GateDemands = GateDemands()) {
        self.workspace = workspace
        self.limits = limits
        self.demands = demands
    }

    /// Says before any work is begun that a tool is missing.
    package static func requireTools() throws {
        try Sandbox.requireTools()
        try Tools.require("git", "make", "gcc", "nasm", "ld", "qemu-system-x86_64", "sha256sum", "taskset")
        let firmware = ["/usr/share/qemu/qboot.rom", "/usr/local/share/qemu/qboot.rom"]
        guard firmware.contains(where: { Files.exists(FilePath($0)) }) else {
            throw AutonError(.unavailable, "qboot.rom is missing", at: "install the package qemu-system-data, or run make deps")
        }
    }

    /// Judges what `commit` changes against `base`. All diff rules are looked at; after that, the first failure ends it.
    ///
    /// - Parameters:
    ///   - task: what the change was to be; nil if nobody in particular was asked for it.
    ///   - slower: the benchmarks that its author knows to be slower now, and why.
    ///   - purpose: names the checkout; one judgement at a time for each.
    package func judge(
        commit: String, base: String, task: TaskMessage?, slower: [Justification] = [], purpose: String
    ) async throws -> Judgement {
        // Ids only: git would take a name that begins with a hyphen for an option.
        for commit in [commit, base] where commit.isEmpty || !commit.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) }) {
            throw AutonError(.badInput, "not the id of a commit", at: commit)
        }
        let name = "gate-\(purpose)"
        guard let lock = try workspace.lock(name) else {
            throw AutonError(.tryAgain, "another gate is at work on it", at: purpose)
        }
        defer { withExtendedLifetime(lock) {} }
        var list = Checklist(blindTo: blindTo)
        let (trees, change, worktree) = try await read(commit, base, checkout: name)
        defer { try? worktree.remove() }
        let builds = BuildCache(workspace: workspace)
        if let seed {
            try BuildCache.put(seed, into: worktree.root)
        } else if !isOfMain {
            builds.seed(worktree.root, from: trees[1], for: change)
        }
        var judgement = Judgement(commit: commit, tree: trees[0])

        list.check(change, paths: task?.paths)
        judgement.change = change.summary(base: base)
        var again: Task<Result<String, SecondBuild.Failure>, any Error>?
        let before = TreeRecord.find(tree: trees[0], in: workspace)
        // A merge is often the tree of the verdict that came just before.
        let known = isOfMain ? before : nil
        do {
            if !list.hasFailed,
                let trial = try await list.buildAndBoot(
                    worktree.root, known: known, expectsFailure: seed != nil, limits: limits,
                    changed: {
                        again = buildAgain(commit, trees, change, name, builds)
                        return try await worktree.changed()
                    })
            {
                judgement.take(trial)
                if !list.hasFailed, let record = trial.record {
                    try await list.checkReproducible(record, before: before, again: again)
                    if !list.hasFailed { try record.save(tree: trees[0], in: workspace) }
                }
                if !list.hasFailed, let record = trial.record {
                    let base = try await result(of: base, tree: trees[1])
                    judgement.compare(with: base)
                    try list.check(trial.boot, task: task, base: base, tree: worktree.root)
                    if !list.hasFailed {
                        list.checkSpeed(record.counts, base: base, share: demands.slower, justified: slower)
                    }
                    if !list.hasFailed {
                        let before = try await paths(of: base.record, trees[1])
                        let matrix = BootMatrix(tree: worktree.root, trial: trial, before: before, limits: limits)
                        judgement.boots = try await list.checkBoots(matrix, demand: demands.boots)
                    }
                    if !list.hasFailed {
                        try await list.checkPanics(of: trial, base: base.record, in: worktree.root, demands.boots, limits)
                    }
                }
            }
        } catch {
            await Self.end(again)
            throw error
        }
        await Self.end(again)
        list.skipRest(of: CheckName.all)
        judgement.checks = list.checks
        if isOfMain && judgement.accepted { try await builds.keep(worktree.root, as: trees[0]) }
        return judgement
    }

    /// Waits for it, so that its checkout is gone.
    private static func end(_ again: Task<Result<String, SecondBuild.Failure>, any Error>?) async {
        again?.cancel()
        _ = await again?.result
    }

    /// Builds it once more after the first build, beside its boots, unless it was built before; on what the base was built to if that
    /// is known, also where the first build begins with nothing.
    private func buildAgain(_ commit: String, _ trees: [String], _ change: Change, _ name: String, _ builds: BuildCache)
        -> Task<Result<String, SecondBuild.Failure>, any Error>?
    {
        guard TreeRecord.find(tree: trees[0], in: workspace) == nil else { return nil }
        let build = SecondBuild(workspace: workspace, limits: limits)
        return Task {
            try await build.run(commit, purpose: "\(name)-again") { checkout in
                if let seed {
                    try BuildCache.put(seed, into: checkout)
                } else {
                    builds.seed(checkout, from: trees[1], for: change)
                }
            }
        }
    }

    /// What git has to say, and the checkout, all at once: the gate is to take little longer than what it runs.
    private func read(_ commit: String, _ base: String, checkout: String) async throws -> ([String], Change, Worktree) {
        async let trees = trees(of: [commit, base])
        async let change = Change(from: base, to: commit, in: workspace.git)
        async let worktree = workspace.worktree(checkout, commit: commit)
        do {
            return try await (trees, change, worktree)
        } catch {
            try? await worktree.remove()
            throw error
        }
    }

    /// By which paths the base can be booted.
    private func paths(of record: TreeRecord?, _ tree: String) async throws -> Set<Machine.Path> {
        var paths: Set<Machine.Path> = [.pvh]
        if record?.sections.contains(where: { $0.name == ELFImage.multiboot2 }) == true { paths.insert(.iso) }
        let disk = try await workspace.git.run("ls-tree", "--name-only", tree, "boot/disk/")
        if disk.split(separator: "\n").contains(where: { $0.hasSuffix(".asm") }) { paths.insert(.disk) }
        return paths
    }

    private func trees(of commits: [String]) async throws -> [String] {
        let result = try await workspace.git.result(["rev-parse"] + commits.map { $0 + "^{tree}" })
        guard result.succeeded else {
            throw AutonError(
                .badInput, "no such commits in the workspace: \(commits.joined(separator: ", "))", at: workspace.root.string)
        }
        return result.line.split(separator: "\n").map(String.init)
    }

    private func result(of base: String, tree: String) async throws -> BaseResult {
        let result = try await BaseResult.of(commit: base, tree: tree, in: workspace, limits: limits)
        if let failure = result.failure, !acceptsBrokenBase {
            throw AutonError(.tryAgain, "the base itself does not pass: \(failure)", at: base)
        }
        return result
    }

    /// Builds and boots a kernel tree that is in no repository: all that can be judged without a base.
    package static func judge(
        directory: FilePath, limits: RunLimits = RunLimits(), demands: GateDemands = GateDemands()
    ) async throws -> Judgement {
        guard Files.exists(directory.appending("Makefile")) else {
            throw AutonError(.badInput, "no kernel tree", at: directory.string)
        }
        // A copy, since what is built belongs to whom the sandbox runs as.
        let copy = try TemporaryCopy(of: directory)
        defer { copy.remove() }
        var list = Checklist()
        var judgement = Judgement(commit: "", tree: "")
        list.add(FilesRule.name, failure: copy.leftOut.first, passed: "", evidence: copy.leftOut)
        if !list.hasFailed, let trial = try await list.buildAndBoot(copy.root, limits: limits) {
            judgement.take(trial)
            if !list.hasFailed { try list.checkConsole(trial.boot.consoleLines, tree: copy.root) }
            if !list.hasFailed {
                let matrix = BootMatrix(tree: copy.root, trial: trial, before: [], limits: limits)
                judgement.boots = try await list.checkBoots(matrix, demand: demands.boots)
            }
            if !list.hasFailed { try await list.checkPanics(of: trial, base: nil, in: copy.root, demands.boots, limits) }
        }
        list.skipRest(of: [
            FilesRule.name, CheckName.build, CheckName.boot, CheckName.origin, CheckName.counters, CheckName.console,
            CheckName.boots, CheckName.panics,
        ])
        judgement.checks = list.checks
        return judgement
    }
}

extension Judgement {
    fileprivate mutating func take(_ trial: Trial) {
        tests = trial.boot.report.tests
        console = Text.tail(trial.boot.consoleLines, 40)
        counters = trial.counts
        boots = [trial.bootResult]
        sections = trial.sections
    }

    /// Puts the base's numbers beside its own.
    fileprivate mutating func compare(with base: BaseResult) {
        guard let record = base.record else { return }
        counters = counters?.compared(with: record.counts)
        let sizes = Dictionary(record.sections.map { ($0.name, $0.bytes) }, uniquingKeysWith: { first, _ in first })
        sections = sections?.map { SectionSize(name: $0.name, bytes: $0.bytes, base: sizes[$0.name]) }
    }
}

extension Checklist {
    /// What a good boot is asked further; the first failure ends it.
    fileprivate mutating func check(_ boot: BootReport, task: TaskMessage?, base: BaseResult, tree: FilePath) throws {
        let tests = boot.report.tests
        checkRegression(tests, base: base)
        if !hasFailed {
            checkAcceptance(tests, of: task, users: task?.role == .developer ? try AcceptanceTests.names(in: tree) : [])
        }
        if !hasFailed { checkNewTests(tests, of: task, base: base) }
        if !hasFailed { try checkConsole(boot.consoleLines, tree: tree) }
    }
}
