import AutonGate
import AutonKit
import AutonMessages

/// All that is booted before anything is compared.
struct Survey: Sendable {
    /// Some of the parts on the base.
    struct Subset: Sendable {
        /// Says which: `with a + b`, `without c`.
        var name: String
        /// With all that they need.
        var parts: [Part]
        var commit: String
        var observation: Observation
    }

    let assembly: Assembly
    /// The commit of all parts together, and what is seen of it.
    let whole: String
    var combined = Observation()
    /// The same boot once more.
    var again = Observation()
    /// By the machine's own clock, twice.
    var byClock: [Observation] = []
    var base = Observation()
    /// Each part on what it was made on, in the order of the parts.
    var parts: [Observation] = []
    /// What each was made on.
    var grounds: [Observation] = []
    /// What parts and grounds that nobody had seen before were asked, where that was not all.
    var focus: Arrangement?
    /// Each suite of the whole alone.
    var suites: [(name: String, observation: Observation)] = []
    /// The whole in other orders.
    var orders: [(name: String, observation: Observation)] = []
    /// The whole with its suites beside one another, by seeds; none if its tests cannot run so.
    var besides: [(seed: Int, observation: Observation)] = []
    var subsets: [Subset] = []

    /// Where a test or benchmark is seen alone: on the base, or on the part that brought it.
    struct Home: Sendable {
        /// Nil if the base has it.
        var owner: Part?
        var observation: Observation
        var commit: String
    }

    /// Of all tests, or benchmarks, that are on the base or that any of some parts brings.
    func homes(among chosen: [Part], of names: (Observation) -> [String]) -> [(name: String, home: Home)] {
        var known = Set(names(base))
        let ofBase = Home(owner: nil, observation: base, commit: assembly.base)
        var homes = names(base).map { (name: $0, home: ofBase) }
        for (index, part) in assembly.parts.enumerated() where chosen.contains(part) {
            let home = Home(owner: part, observation: parts[index], commit: part.commit)
            let ground = Set(names(grounds[index]))
            homes += names(parts[index]).filter { !ground.contains($0) && known.insert($0).inserted }.map {
                (name: $0, home: home)
            }
        }
        return homes
    }
}

extension Survey {
    /// - Parameters:
    ///   - orders: how many other orders; the first is the reverse, the others are seeded with their number.
    ///   - share: per cent that something may take more in company.
    ///   - allPairs: every two parts together, in place of leaving out those that may hide something.
    static func make(
        _ assembly: Assembly, whole: String, in laboratory: Laboratory, orders: Int, share: Double, allPairs: Bool
    ) async throws -> Survey {
        var survey = Survey(assembly: assembly, whole: whole)
        // What the others are built on.
        async let base = laboratory.observe(assembly.base)
        async let combined = laboratory.observe(whole, Arrangement(repetition: 1))
        async let again = laboratory.observe(whole, Arrangement(repetition: 2))
        async let byClock = concurrently([1, 2]) {
            try await laboratory.observe(whole, Arrangement(countsInstructions: false, repetition: $0))
        }
        let others = orders > 0 ? ["reverse"] + (1..<orders).map(String.init) : []
        async let ordered = concurrently(others) { try await laboratory.observe(whole, Arrangement(order: $0)) }
        async let subsets = subsets(assembly, whole: whole, in: laboratory, allPairs: allPairs)
        (survey.base, survey.combined, survey.again, survey.byClock) = try await (base, combined, again, byClock)
        let suites = survey.combined.suites
        let alone = try await concurrently(suites) { try await laboratory.observe(whole, Arrangement(suites: [$0])) }
        survey.suites = zip(suites, alone).map { (name: $0, observation: $1) }
        survey.orders = zip(others, try await ordered).map { (name: $0, observation: $1) }
        survey.focus = try await focus(survey, share: share, in: laboratory)
        let asked = survey
        async let parts = asked.alone(in: laboratory)
        ((survey.parts, survey.grounds), survey.subsets) = try await (parts, subsets)
        let seeds = try await canRunBeside(survey.combined.tests, whole, in: laboratory) ? Array(1..<max(orders, 1)) : []
        let beside = try await concurrently(seeds) { try await laboratory.observe(whole, Arrangement(beside: $0)) }
        survey.besides = zip(seeds, beside).map { (seed: $0, observation: $1) }
        return survey
    }

    /// Whether the kernel has threads, and at least two suites tests that may run beside others.
    private static func canRunBeside(_ tests: [TestResult], _ whole: String, in laboratory: Laboratory) async throws -> Bool {
        let suites = Set(tests.filter { Arrangement.mayRunBeside($0.name) }.map(\.suite))
        guard suites.count > 1, case .success(let image) = try await laboratory.image(of: whole) else { return false }
        return image.globals.contains("harness_beside")
    }
}
