import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// Looks for what is one thing alone and another in company, and for the smallest set of parts that is to blame.
struct Composer: Sendable {
    /// What is asked for.
    struct Demand: Sendable {
        /// Per cent that something may take more in company.
        var share: Double
        /// How many other orders the tests are run in.
        var orders: Int
        /// Every two parts together, in place of leaving out those that may hide something.
        var allPairs: Bool
        /// The source of QEMU's plugin that counts instructions by function.
        var profiler: FilePath

        /// As it is filed.
        var asked: Composition.Demand { .init(slower: share, orders: orders, allPairs: allPairs) }
    }

    let assembly: Assembly
    /// The commit of all parts together.
    let whole: String
    let laboratory: Laboratory
    let demand: Demand

    /// Without the console.
    func compose() async throws -> Composition {
        var survey = try await Survey.make(
            assembly, whole: whole, in: laboratory, orders: demand.orders, share: demand.share, allPairs: demand.allPairs)
        let chances = ChanceFindings(survey: survey).all()
        var findings = findings(in: survey)
        if survey.focus != nil, !findings.isEmpty {
            survey.focus = nil
            (survey.parts, survey.grounds) = try await survey.alone(in: laboratory)
            findings = self.findings(in: survey)
        }
        let blame = Blame(assembly: assembly, laboratory: laboratory, profiler: demand.profiler)
        let judged = try await concurrently(
            findings.filter { finding in !chances.contains { $0.isDoubt(of: finding.interaction) } }
        ) {
            try await blame.judge($0)
        }
        // What is another by the clock is the same every time in instructions, and somebody is to blame for it.
        let blamed = Set(judged.map(\.test))
        var interactions = chances.filter { $0.configuration != ChanceFindings.byClock || !blamed.contains($0.test) } + judged
        interactions = Self.withoutEchoes(interactions)
        return Composition(
            commit: whole, tree: try await assembly.workspace.git.tree(of: whole),
            configurations: configurations(survey), interactions: interactions,
            console: try await laboratory.observe(whole, Arrangement(runsTests: false)).console,
            figures: SpeedFindings.sums(survey), changes: try await blame.changes(of: interactions),
            builds: await laboratory.buildCount, boots: await laboratory.bootCount, demand: demand.asked)
    }

    private func findings(in survey: Survey) -> [Finding] {
        OutcomeFindings(survey: survey, laboratory: laboratory).all()
            + SpeedFindings(survey: survey, laboratory: laboratory, share: demand.share).all()
    }

    /// Another order shows another test of those that fail for one reason: it is told only if those to blame for something
    /// that is known already are not all among those to blame for this.
    private static func withoutEchoes(_ interactions: [Interaction]) -> [Interaction] {
        var known = interactions.filter { $0.kind == .outcome }.map { Set($0.blamed ?? []) }
        return interactions.filter { interaction in
            guard interaction.kind == .order, let blamed = interaction.blamed.map(Set.init) else { return true }
            let isEcho = known.contains { $0.isSubset(of: blamed) }
            known.append(blamed)
            return !isEcho
        }
    }

    func configurations(_ survey: Survey) -> [Composition.Configuration] {
        var rows = [("combined", survey.combined), ("base", survey.base)]
        rows += survey.suites.map { ($0.name, $0.observation) }
        rows += zip(assembly.parts.map(\.name), survey.parts)
        rows += survey.orders.map { ("order \($0.name)", $0.observation) }
        rows += survey.besides.map { ("beside \($0.seed)", $0.observation) }
        rows += survey.subsets.map { ($0.name, $0.observation) }
        rows += survey.byClock.enumerated().map { ("clock \($0 + 1)", $1) }
        return rows.map {
            Composition.Configuration(name: $0, tests: $1.tests, failure: $1.excuse ?? $1.failure, counts: $1.counts)
        }
    }
}

extension Interaction {
    /// Whether what differs by chance is what another finding goes by, a result or a number. These are all found in instructions.
    fileprivate func isDoubt(of finding: Interaction) -> Bool {
        configuration == ChanceFindings.counted && test == finding.test && (alone == combined) == (finding.cost != nil)
    }
}
