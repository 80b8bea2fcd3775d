import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// What one boot of one tree said.
struct Observation: Sendable, Equatable {
    var tests: [TestResult]
    /// Empty if the boot ended as it should; else one line: how it did end, or why there was none.
    var failure: String
    /// What the kernel printed.
    var console: [String]

    func outcome(of test: String) -> TestResult.Outcome? { tests.first { $0.name == test }?.outcome }
}

/// Builds trees and boots what comes of it, as many at once as there are processors; each tree once, and each image with the
/// same arguments once, however often they are asked for.
actor Laboratory {
    /// What is booted of the kernel's tests.
    enum Selection: Hashable, Sendable {
        case everything
        case suite(String)
        /// None, since tests may print anything: what the kernel's user sees.
        case nothing
    }

    private struct Image: Sendable {
        var path: FilePath
        var digest: String
    }

    private let workspace: Workspace
    private let limits: RunLimits
    private let directory: FilePath
    private let slots: Slots
    private var builds: [String: Task<Result<Image, BuildFailure>, any Error>] = [:]
    private var boots: [String: [Selection: Task<Observation, any Error>]] = [:]
    /// How many there were.
    private(set) var buildCount = 0, bootCount = 0

    private struct BuildFailure: Error { var line: String }

    /// - Parameter purpose: names the checkouts and images, which are removed by `close`; one laboratory at a time for each.
    init(workspace: Workspace, purpose: String, limits: RunLimits, processors: Int) throws {
        self.workspace = workspace
        self.limits = limits
        slots = Slots(processors)
        directory = workspace.place(of: purpose)
        try Files.removeTree(directory)
        try Files.createDirectories(directory)
    }

    func close() { try? Files.removeTree(directory) }

    func observe(_ commit: String, _ selection: Selection = .everything) async throws -> Observation {
        let tree = try await workspace.git.tree(of: commit)
        // What the gate saw of a tree that it accepted needs no other look.
        if selection == .everything, let tests = Gate.tests(ofTree: tree, in: workspace) {
            return Observation(tests: tests, failure: "", console: [])
        }
        switch try await image(of: tree, commit) {
        case .failure(let failure): return Observation(tests: [], failure: "build: \(failure.line)", console: [])
        case .success(let image):
            if let boot = boots[image.digest]?[selection] { return try await boot.value }
            bootCount += 1
            let boot = Task { try await self.boot(image.path, selection) }
            boots[image.digest, default: [:]][selection] = boot
            return try await boot.value
        }
    }

    /// What the kernel prints when it boots without tests.
    func console(_ commit: String) async throws -> [String] { try await observe(commit, .nothing).console }

    private func image(of tree: String, _ commit: String) async throws -> Result<Image, BuildFailure> {
        if let build = builds[tree] { return try await build.value }
        buildCount += 1
        let build = Task { try await self.build(tree, commit) }
        builds[tree] = build
        return try await build.value
    }

    private nonisolated func build(_ tree: String, _ commit: String) async throws -> Result<Image, BuildFailure> {
        try await slots.use {
            let worktree = try await Worktree.create(
                at: directory.appending(tree), commit: commit, repository: workspace.git.directory)
            defer { try? worktree.remove() }
            let build = try await Build.run(in: worktree.root, limits: limits)
            guard build.succeeded else { return .failure(BuildFailure(line: build.failure)) }
            let digest = try await Tools.digest(of: build.image)
            let image = directory.appending("\(tree).elf")
            try Files.write(image, try Files.read(build.image), sync: false)
            return .success(Image(path: image, digest: digest))
        }
    }

    private nonisolated func boot(_ image: FilePath, _ selection: Selection) async throws -> Observation {
        try await slots.use {
            var boot = Boot(image: image, seconds: limits.bootSeconds)
            switch selection {
            case .everything: break
            case .suite(let suite): boot.suites = [suite]
            case .nothing: boot.runsTests = false
            }
            let report = try await boot.run()
            return Observation(tests: report.report.tests, failure: report.failure ?? "", console: report.consoleLines)
        }
    }
}
