import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// Builds trees and boots what comes of it, as many at once as there are processors; each tree once, and each image with the
/// same arguments once, however often they are asked for.
actor Laboratory {
    /// What a tree was built to.
    struct Image: Sendable {
        var path: FilePath
        var digest: String
        var sections: [SectionSize]
        /// The names that all of its files have together.
        var globals: Set<String>

        /// Its tests and benchmarks.
        var tests: Set<String> {
            Set(
                globals.compactMap { name in
                    guard let kind = ["ktest_", "kbench_"].first(where: name.hasPrefix),
                        let gap = name.dropFirst(kind.count).firstRange(of: "__")
                    else { return nil }
                    return
                        "\(name[name.index(name.startIndex, offsetBy: kind.count)..<gap.lowerBound]).\(name[gap.upperBound...])"
                })
        }
    }

    struct BuildFailure: Error { var line: String }
    typealias BuildOutcome = Result<Image, BuildFailure>

    /// Where images are, for as long as it is open.
    nonisolated let directory: FilePath
    nonisolated let limits: RunLimits
    private let workspace: Workspace
    private let slots: Slots
    private let memory: ObservationStore
    /// The tree whose build the others go on from, unless what it or the whole was built to is kept.
    private let base: (tree: String, commit: String)
    private let kept: FilePath?
    private var builds: [String: Task<BuildOutcome, any Error>] = [:]
    private var boots: [String: [Arrangement: Task<(observation: Observation, seconds: Double), any Error>]] = [:]
    /// Wall time of the longest boot that came to its end.
    private var longest = 0.0
    private var profiling: Task<Profile, any Error>?
    /// How many there were.
    private(set) var buildCount = 0, bootCount = 0

    /// - Parameters:
    ///   - base: a commit that the others have most of in common with.
    ///   - whole: the tree of all together.
    ///   - purpose: names the checkouts and images, which are removed by `close`; one laboratory at a time for each.
    init(workspace: Workspace, base: String, whole: String, purpose: String, limits: RunLimits, processors: Int) async throws {
        self.workspace = workspace
        self.limits = limits
        self.base = (try await workspace.git.tree(of: base), base)
        let cache = BuildCache(workspace: workspace)
        kept = cache.kept(whole) ?? cache.kept(self.base.tree)
        slots = Slots(processors)
        memory = ObservationStore(workspace)
        directory = workspace.place(of: purpose)
        try Files.removeTree(directory)
        try Files.createDirectories(directory)
    }

    /// QEMU's plugin that counts instructions by function, compiled once: several look for functions at once.
    func profile(source: FilePath) async throws -> Profile {
        if let profiling { return try await profiling.value }
        let task = Task { try await Profile(source: source, directory: directory) }
        profiling = task
        return try await task.value
    }

    func close() { try? Files.removeTree(directory) }

    /// Forgets what earlier compositions saw and this one had no use for.
    func forgetOthers() async { await memory.removeUnused() }

    func observe(_ commit: String, _ arrangement: Arrangement = Arrangement()) async throws -> Observation {
        let tree = try await workspace.git.tree(of: commit)
        if arrangement == Arrangement(), let record = TreeRecord.find(tree: tree, in: workspace) {
            // What the gate saw of a tree that it accepted needs no other look.
            return Observation(tests: record.tests, counts: record.counts, sections: record.sections)
        }
        if let known = await memory.find(tree, arrangement) { return known }
        switch try await image(ofTree: tree, commit) {
        case .failure(let failure): return Observation(failure: "build: \(failure.line)", endedIn: "build")
        case .success(let image):
            if let boot = boots[image.digest]?[arrangement] { return try await boot.value.observation }
            bootCount += 1
            let seconds = patience
            let boot = Task { try await self.boot(image, arrangement, seconds: seconds) }
            boots[image.digest, default: [:]][arrangement] = boot
            let (observation, taken) = try await boot.value
            if observation.endedIn == nil { longest = max(longest, taken) }
            await memory.keep(observation, of: tree, arrangement)
            return observation
        }
    }

    /// Whether what a boot of it with everything says is known without one.
    func knows(_ commit: String) async throws -> Bool {
        let tree = try await workspace.git.tree(of: commit), whole = Arrangement()
        if TreeRecord.find(tree: tree, in: workspace) != nil { return true }
        return await memory.find(tree, whole) != nil
    }

    func image(of commit: String) async throws -> BuildOutcome {
        try await image(ofTree: workspace.git.tree(of: commit), commit)
    }

    private func image(ofTree tree: String, _ commit: String) async throws -> BuildOutcome {
        try await task(tree, commit).value
    }

    private func task(_ tree: String, _ commit: String) -> Task<BuildOutcome, any Error> {
        if let build = builds[tree] { return build }
        // All others go on from what the base was built to.
        let first = tree == base.tree || kept != nil ? nil : task(base.tree, base.commit)
        buildCount += 1
        let build = Task {
            _ = try await first?.value
            return try await self.build(tree, commit)
        }
        builds[tree] = build
        return build
    }

    private nonisolated func build(_ tree: String, _ commit: String) async throws -> BuildOutcome {
        try await slots.use {
            let worktree = try await Worktree.create(
                at: directory.appending(tree), commit: commit, repository: workspace.git.directory)
            defer { try? worktree.remove() }
            let seed = kept ?? directory.appending("seed"), output = worktree.root.appending("build")
            if Files.isDirectory(seed) {
                try BuildCache.put(seed, into: worktree.root)
            }
            let build = try await Build.run(in: worktree.root, limits: limits)
            guard build.succeeded else { return .failure(BuildFailure(line: build.failure)) }
            let bytes = try Files.read(build.image), elf = ELFImage(bytes)
            let image = directory.appending("\(tree).elf")
            try Files.write(image, bytes, sync: false)
            if tree == base.tree && kept == nil { try Files.copyTree(output, to: seed) }
            return .success(
                Image(
                    path: image, digest: try await Tools.digest(of: image), sections: elf?.sizes ?? [],
                    globals: elf?.globals ?? []))
        }
    }

    /// Seconds until a boot counts as hung: many times what others took on this machine, so that looking for who is to blame
    /// for a hang does not take the whole limit each time.
    private var patience: Double { longest == 0 ? limits.bootSeconds : min(limits.bootSeconds, max(3, 10 * longest)) }

    private nonisolated func boot(_ image: Image, _ arrangement: Arrangement, seconds: Double) async throws
        -> (observation: Observation, seconds: Double)
    {
        try await slots.use {
            var boot = Boot(image: image.path, suites: arrangement.suites, seconds: seconds)
            boot.machine.countsInstructions = arrangement.countsInstructions
            boot.benches = arrangement.runsBenches ? arrangement.suites : nil
            boot.order = arrangement.order
            boot.beside = arrangement.beside
            boot.runsTests = arrangement.runsTests
            if arrangement.tellsMasked { boot.processorWatch = try ProcessorWatch(of: image.path, on: boot.machine) }
            let made = boot
            // What fails by the clock while others have the machine, once more.
            let (report, excuse) =
                try await arrangement.countsInstructions ? (made.run(), "") : BootReport.believed { try await made.run() }
            var observation = Observation(
                tests: report.report.tests, counts: report.counters.counts, sections: image.sections,
                failure: report.failure ?? "", endedIn: arrangement.runsTests ? report.endedIn : nil,
                console: report.consoleLines)
            if !excuse.isEmpty { observation.excuse = excuse }
            return (observation, report.seconds)
        }
    }
}
