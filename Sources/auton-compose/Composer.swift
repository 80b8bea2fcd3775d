import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// Boots main's kernel with each suite alone and with all of them, and compares result by result.
struct Composer {
    var mailbox: Mailbox
    var workspace: Workspace
    var limits: RunLimits

    /// The composition of `commit`; one that is filed already is not made again.
    func compose(_ commit: String) async throws -> Composition {
        let tree = try await workspace.git.tree(of: commit)
        if let done = try mailbox.find(Composition.self, tree) { return done }
        let purpose = "compose-\(tree.prefix(12))"
        guard let lock = try workspace.lock(purpose) else {
            throw AutonError(.tryAgain, "another auton-compose is at work", at: purpose)
        }
        defer { lock.release() }
        let worktree = try await workspace.worktree(purpose, commit: commit)
        defer { try? worktree.remove() }
        let build = try await Build.run(in: worktree.root, limits: limits)
        guard build.succeeded else {
            throw AutonError(.bug, "main does not build", at: commit)
        }
        let everything = try await Boot(image: build.image, seconds: limits.bootSeconds).run()
        let combined = configuration("combined", everything)
        let suites = Set(combined.tests.compactMap { $0.name.split(separator: ".").first.map(String.init) }).sorted()
        var alone: [Composition.Configuration] = []
        for suite in suites {
            let boot = Boot(image: build.image, suites: [suite], seconds: limits.bootSeconds)
            alone.append(configuration(suite, try await boot.run()))
        }
        // Without tests, which may print anything.
        var quiet = Boot(image: build.image, seconds: limits.bootSeconds)
        quiet.runsTests = false
        let composition = Composition(
            commit: commit, tree: tree, configurations: [combined] + alone, interactions: Self.interactions(combined, alone),
            console: try await quiet.run().consoleLines)
        try mailbox.file(composition)
        return composition
    }

    private func configuration(_ name: String, _ boot: BootReport) -> Composition.Configuration {
        Composition.Configuration(name: name, tests: boot.report.tests, failure: boot.failure ?? "")
    }

    /// A test that passes alone and does not in company, or the other way round.
    static func interactions(_ combined: Composition.Configuration, _ alone: [Composition.Configuration]) -> [Composition
        .Interaction]
    {
        let together = Dictionary(combined.tests.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return alone.flatMap { configuration in
            configuration.tests.compactMap { test in
                let other = together[test.name] ?? TestResult(name: test.name, outcome: .missing)
                guard test.outcome != other.outcome else { return nil }
                let evidence =
                    ["alone: \(configuration.failure)"] + test.diagnostics + ["combined: \(combined.failure)"] + other.diagnostics
                return Composition.Interaction(test: test.name, alone: test.outcome, combined: other.outcome, evidence: evidence)
            }
        }
    }
}

extension Composition {
    /// Tests by configuration, and the interactions below.
    var matrix: String {
        guard let combined = configurations.first else { return "" }
        let names = configurations.flatMap(\.tests).map(\.name)
        let tests = names.enumerated().filter { names.firstIndex(of: $1) == $0 }.map(\.element)
        let rows = tests.map { name in
            [
                name, outcome(of: name, in: configurations.dropFirst().first { $0.name == name.prefix { $0 != "." } }),
                outcome(of: name, in: combined),
            ]
        }
        let boots = configurations.filter { !$0.failure.isEmpty }.map { "\($0.name): \($0.failure)" }
        let found = interactions.map { "INTERACTION \($0.test): \($0.alone.rawValue) alone, \($0.combined.rawValue) combined" }
        return
            ([Table.format([["TEST", "ALONE", "COMBINED"]] + rows)] + boots + (found.isEmpty ? ["no interaction found"] : found))
            .joined(separator: "\n")
    }

    private func outcome(of test: String, in configuration: Configuration?) -> String {
        configuration?.tests.first { $0.name == test }?.outcome.rawValue ?? "-"
    }
}
