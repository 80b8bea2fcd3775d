import AutonMessages

/// Tests that say something else than alone.
struct OutcomeFindings: Sendable {
    let survey: Survey
    let laboratory: Laboratory

    /// In one boot with everything, in other orders, with some of the parts, and the suites by themselves. What shows in
    /// the first is not told again of the others.
    func all() -> [Finding] {
        let parts = survey.assembly.parts
        var found = differences(in: survey.combined, of: survey.whole, among: parts)
        found += partsThatEnd()
        for suite in survey.suites { found += differences(ofSuite: suite.name, suite.observation).without(found) }
        for order in survey.orders {
            let arrangement = Arrangement(order: order.name)
            let differences = differences(
                in: order.observation, of: survey.whole, among: parts, arrangement, configuration: "in order \(order.name)")
            found += differences.without(found)
        }
        for beside in survey.besides {
            let differences = differences(
                in: beside.observation, of: survey.whole, among: parts, Arrangement(beside: beside.seed),
                configuration: "beside others (seed \(beside.seed))")
            found += differences.without(found)
        }
        for subset in survey.subsets {
            let differences = differences(
                in: subset.observation, of: subset.commit, among: subset.parts, configuration: subset.name)
            found += differences.without(found)
        }
        return found.isEmpty ? unexplained() : found
    }

    private func differences(
        in observation: Observation, of commit: String, among suspects: [Part], _ arrangement: Arrangement = Arrangement(),
        configuration: String? = nil
    ) -> [Finding] {
        let isBeside = arrangement.beside != nil
        let kind = isBeside ? Interaction.Kind.beside : arrangement.order != nil ? .order : .outcome
        // Where several run it ended in all of them.
        if let end = isBeside && observation.endedIn != nil ? "boot" : observation.endedIn, ["build", "boot"].contains(end) {
            let interaction = Interaction(
                kind: kind, test: end, alone: .ok, combined: .missing, evidence: evidence([], [observation.failure]),
                configuration: configuration)
            return [
                Finding(interaction: interaction, suspects: suspects, commit: commit, arrangement: arrangement) { _, commit in
                    let ended = try await laboratory.observe(commit, arrangement).endedIn
                    return isBeside ? ended != nil : ended == end
                }
            ]
        }
        return survey.homes(among: suspects, of: \.names).compactMap { test, home in
            guard !isBeside || Arrangement.mayRunBeside(test) else { return nil }
            let isBench = home.observation.counts.benches.contains { $0.name == test }
            guard arrangement.runsBenches || !isBench, let alone = home.observation.outcome(of: test),
                let now = observation.verdict(on: test), now != alone
            else { return nil }
            // Somebody mended it, or brought what it waited for.
            if now == .ok && (home.owner == nil || alone == .skip) { return nil }
            let interaction = Interaction(
                kind: kind, test: test, alone: alone, combined: now,
                evidence: evidence(home.observation.diagnostics(of: test), observation.diagnostics(of: test)),
                configuration: configuration)
            return Finding(
                interaction: interaction, owner: home.owner, suspects: suspects, commit: commit, arrangement: arrangement
            ) { _, commit in try await laboratory.observe(commit, arrangement).verdict(on: test) == now }
        }
    }

    /// Changes that alone do not build or do not come to the end of their boot, and in company do.
    private func partsThatEnd() -> [Finding] {
        survey.assembly.parts.indices.compactMap { index in
            let part = survey.assembly.parts[index], seen = survey.parts[index]
            guard survey.combined.endedIn == nil, let end = seen.endedIn, survey.grounds[index].endedIn != end else { return nil }
            let interaction = Interaction(
                kind: .outcome, test: end, alone: .missing, combined: .ok, evidence: evidence([seen.failure], []))
            return Finding(
                interaction: interaction, owner: part, suspects: survey.assembly.parts, commit: survey.whole
            ) { _, commit in try await laboratory.observe(commit).endedIn == nil }
        }
    }

    /// What goes wrong with everything, and only then, though no test tells.
    private func unexplained() -> [Finding] {
        guard !survey.combined.failure.isEmpty, ([survey.base] + survey.parts).allSatisfy(\.failure.isEmpty) else { return [] }
        let interaction = Interaction(
            kind: .outcome, test: "boot", alone: .ok, combined: .notOk, evidence: evidence([], [survey.combined.failure]))
        return [
            Finding(interaction: interaction, suspects: survey.assembly.parts, commit: survey.whole) { _, commit in
                try await !laboratory.observe(commit).failure.isEmpty
            }
        ]
    }

    /// Tests that say something else when their suite is booted alone.
    private func differences(ofSuite suite: String, _ observation: Observation) -> [Finding] {
        let alone = Arrangement(suites: [suite])
        return observation.tests.compactMap { test in
            guard let now = survey.combined.verdict(on: test.name), now != test.outcome else { return nil }
            let interaction = Interaction(
                kind: .outcome, test: test.name, alone: test.outcome, combined: now,
                evidence: evidence(
                    observation.diagnostics(of: test.name), survey.combined.diagnostics(of: test.name)))
            return Finding(
                interaction: interaction, suspects: survey.assembly.parts, commit: survey.whole, arrangement: alone
            ) { _, commit in
                async let suite = laboratory.observe(commit, alone), all = laboratory.observe(commit)
                guard let alone = try await suite.outcome(of: test.name), let now = try await all.verdict(on: test.name) else {
                    return false
                }
                return alone != now
            }
        }
    }

    private func evidence(_ alone: [String], _ combined: [String]) -> [String] {
        alone.map { "alone: \($0)" } + combined.map { "combined: \($0)" }
    }
}
