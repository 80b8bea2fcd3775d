import AutonKit
import AutonMessages

/// Looks for tests that say one thing alone and another in company, and for the smallest set of parts that is to blame.
struct Composer: Sendable {
    let assembly: Assembly
    /// The commit of all parts together.
    let whole: String
    let laboratory: Laboratory

    struct Result: Sendable {
        var configurations: [Composition.Configuration]
        var interactions: [Composition.Interaction]
    }

    func compose() async throws -> Result {
        async let whole = laboratory.observe(whole)
        async let base = laboratory.observe(assembly.base)
        async let lone = observeParts()
        let combined = try await whole, parts = try await lone
        let suites = Set(combined.tests.compactMap { $0.name.split(separator: ".").first.map(String.init) }).sorted()
        let alone = try await each(suites) { try await laboratory.observe(self.whole, .suite($0)) }

        var interactions: [Composition.Interaction] = []
        for (suite, observation) in zip(suites, alone) {
            interactions += try await differences(ofSuite: suite, observation, combined)
        }
        let found = Set(interactions.map(\.test))
        interactions += try await differences(of: parts, on: base, combined).filter { !found.contains($0.test) }
        let rows = [("combined", combined)] + zip(suites, alone) + zip(assembly.parts.map(\.name), parts)
        return Result(
            configurations: rows.map { Composition.Configuration(name: $0, tests: $1.tests, failure: $1.failure) },
            interactions: interactions)
    }

    /// Each part on what it was made on. That a part alone does not build or boot is told in its row.
    private func observeParts() async throws -> [Observation] {
        try await each(assembly.parts) { try await laboratory.observe($0.commit) }
    }

    /// Tests that say something else when their suite is booted alone.
    private func differences(ofSuite suite: String, _ alone: Observation, _ combined: Observation) async throws
        -> [Composition.Interaction]
    {
        try await each(alone.tests.filter { ($0.outcome) != (combined.outcome(of: $0.name) ?? .missing) }) { test in
            try await interaction(test, nil, alone.failure, combined) { commit in
                async let suite = laboratory.observe(commit, .suite(suite)), all = laboratory.observe(commit)
                guard let alone = try await suite.outcome(of: test.name) else { return false }
                return try await alone != (all.outcome(of: test.name) ?? .missing)
            }
        }
    }

    /// Tests that say something else on the part that brought them, or on the base, than on the whole.
    private func differences(of parts: [Observation], on base: Observation, _ combined: Observation) async throws
        -> [Composition.Interaction]
    {
        var known: Set<String> = []
        var differing: [(test: TestResult, owner: Part?, failure: String)] = []
        let owners: [(Part?, Observation)] = [(nil, base)] + zip(assembly.parts.map { $0 }, parts)
        for (owner, observation) in owners {
            for test in observation.tests where known.insert(test.name).inserted {
                if test.outcome != (combined.outcome(of: test.name) ?? .missing) {
                    differing.append((test, owner, observation.failure))
                }
            }
        }
        return try await each(differing) { test, owner, failure in
            let together = combined.outcome(of: test.name) ?? .missing
            return try await interaction(test, owner, failure, combined) { commit in
                (try await laboratory.observe(commit).outcome(of: test.name) ?? .missing) == together
            }
        }
    }

    /// - Parameter owner: the part without which there is no such test.
    private func interaction(
        _ test: TestResult, _ owner: Part?, _ failure: String, _ combined: Observation,
        shows: @escaping @Sendable (String) async throws -> Bool
    ) async throws -> Composition.Interaction {
        let other = combined.tests.first { $0.name == test.name } ?? TestResult(name: test.name, outcome: .missing)
        let kept = owner.map { [$0] } ?? []
        let blamed = try await minimize(assembly.parts.filter { $0 != owner }) { subset in
            guard let commit = try await assembly.commit(of: kept + subset) else { return false }
            return try await shows(commit)
        }
        let names = Set((kept + blamed).map(\.name))
        return Composition.Interaction(
            test: test.name, alone: test.outcome, combined: other.outcome,
            evidence: ["alone: \(failure)"] + test.diagnostics + ["combined: \(combined.failure)"] + other.diagnostics,
            blamed: assembly.parts.map(\.name).filter(names.contains))
    }

    private func each<Item: Sendable, Value: Sendable>(
        _ items: [Item], _ body: @escaping @Sendable (Item) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup { group in
            for (index, item) in items.enumerated() { group.addTask { (index, try await body(item)) } }
            return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}
