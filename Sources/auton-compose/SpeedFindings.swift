import AutonMessages

/// Benchmarks and tests that take more instructions than alone, what has interrupts off for longer, and kernels that take more than their
/// parts add up to.
struct SpeedFindings: Sendable {
    let survey: Survey
    let laboratory: Laboratory
    /// Per cent.
    let share: Double

    /// What is compared, name by name.
    struct Measure: Sendable {
        var kind: Interaction.Kind
        var of: @Sendable (Observation) -> [String: Int]
        var tolerance: Tolerance
        /// Whether it may be what each change adds to it, all together, or grow as the square of the code: in a test that looks
        /// at every function, and searches for it among the others. Else it may be the most that one change alone comes to.
        var addsUp = false

        /// What the whole takes. A test that waits for a clock takes what is left until it strikes, which goes by what ran before: what the
        /// same kernel does with less, in another order or for the test's suite alone, is no cost of company.
        func ofWhole(_ survey: Survey) -> [String: Int] {
            guard addsUp else { return of(survey.combined) }
            let others = (survey.orders + survey.suites).map { of($0.observation) }
            return of(survey.combined).reduce(into: [:]) { least, test in
                least[test.key] = others.reduce(test.value) { min($0, $1[test.key] ?? $0) }
            }
        }
    }

    private static func instructions(_ share: Double) -> Measure {
        Measure(kind: .speed, of: { $0.instructions(ofBenches: true) }, tolerance: Tolerance(share: share))
    }

    /// What a test prints takes its time as soon as there is a port to print to, and is no slowdown. Nor is a step more of a search in the
    /// table of all functions, which is a tenth, and comes when these are more than the next power of two: so a test may take twice the share.
    private static func instructionsOfTests(_ share: Double) -> Measure {
        Measure(
            kind: .speed, of: { $0.instructions(ofBenches: false) }, tolerance: Tolerance(share: 2 * share, floor: 20_000),
            addsUp: true)
    }

    /// Three microseconds, more or less: an interrupt that comes a little earlier or later, or a page that has to be cleared.
    private static func masked(_ share: Double) -> Measure {
        Measure(kind: .masked, of: \.masked, tolerance: Tolerance(share: share, floor: 3000))
    }

    /// All that is compared name by name.
    static func measures(share: Double) -> [Measure] { [instructions(share), instructionsOfTests(share), masked(share)] }

    func all() -> [Finding] {
        var found = more(Self.instructions(share), in: survey.combined, of: survey.whole, among: survey.assembly.parts)
        for suite in survey.suites { found += slower(thanIn: suite.observation, suite.name).without(found) }
        for subset in survey.subsets {
            found += more(
                Self.instructions(share), in: subset.observation, of: subset.commit, among: subset.parts,
                configuration: subset.name
            )
            .without(found)
        }
        for measure in [Self.instructionsOfTests(share), Self.masked(share)] {
            found += more(measure, in: survey.combined, of: survey.whole, among: survey.assembly.parts).without(found)
        }
        return found + larger()
    }

    /// What is more than at home.
    private func more(
        _ measure: Measure, in observation: Observation, of commit: String, among suspects: [Part], configuration: String? = nil
    ) -> [Finding] {
        let tolerance = measure.tolerance, measured = measure.of
        let found = configuration == nil ? measure.ofWhole(survey) : measured(observation)
        return survey.homes(among: suspects, of: { measured($0).keys.sorted() }).compactMap { name, home in
            guard let now = found[name] else { return nil }
            let expected = { @Sendable chosen, observation in
                expectation(of: measure, name, home, among: chosen, in: observation)
            }
            guard let alone = expected(suspects, observation), tolerance.exceeds(now, alone) else { return nil }
            return Finding(
                interaction: interaction(
                    measure.kind, name, alone, now, configuration,
                    evidence: measure.kind == .masked ? places(name, observation) : []),
                owner: home.owner, suspects: suspects, commit: commit,
                shows: { parts, commit in
                    let observation = try await laboratory.observe(commit)
                    guard let now = measured(observation)[name] else { return false }
                    return tolerance.exceeds(now, expected(parts, observation) ?? alone)
                }, reference: measure.kind == .speed ? home.commit : nil)
        }
    }

    /// What of a name is no interaction of these: what it is at home, and what one of them does by itself, which its gate has seen. A benchmark
    /// that one makes slower by more than the share may be so; else, one that is made faster has to stay so. What is less than the share
    /// does not count, or it would come to any number, one by one.
    private func expectation(
        of measure: Measure, _ name: String, _ home: Survey.Home, among chosen: [Part], in observation: Observation
    ) -> Int? {
        guard let atHome = measure.of(home.observation)[name] else { return nil }
        if measure.addsUp {
            let sum = survey.expected(of: chosen, home: home) { measure.of($0)[name] } ?? atHome
            guard let text = home.observation.figure(Self.text), let now = observation.figure(Self.text), text > 0 else {
                return sum
            }
            let growth = max(1, Double(now) / Double(text))
            return max(sum, Int(Double(atHome) * growth * growth))
        }
        let seen = survey.assembly.parts.indices.filter { chosen.contains(survey.assembly.parts[$0]) }.compactMap { index in
            measure.of(survey.parts[index])[name].map { (with: $0, without: measure.of(survey.grounds[index])[name] ?? $0) }
        }
        if measure.kind == .masked { return max(seen.map(\.with).max() ?? 0, atHome) }
        let slower = seen.filter { measure.tolerance.exceeds($0.with, $0.without) }
        let faster = seen.filter { measure.tolerance.exceeds($0.without, $0.with) }
        return slower.map(\.with).max() ?? faster.map(\.with).min() ?? atHome
    }

    private static let text = "image.text"

    /// Where interrupts went off, and on again.
    private func places(_ name: String, _ observation: Observation) -> [String] {
        let counts = observation.counts.tests + observation.counts.benches
        guard let masked = counts.first(where: { $0.name == name })?.masked else { return [] }
        return ["interrupts go off in \(masked.off), on again in \(masked.on)"]
    }

    /// Benchmarks that take more than when their suite is booted alone.
    private func slower(thanIn suite: Observation, _ name: String) -> [Finding] {
        let tolerance = Tolerance(share: share), arrangement = Arrangement(suites: [name])
        let together = survey.combined.instructions(ofBenches: true)
        return suite.instructions(ofBenches: true).sorted { $0.key < $1.key }.compactMap { bench, alone in
            guard let now = together[bench], tolerance.exceeds(now, alone) else { return nil }
            return Finding(
                interaction: interaction(.speed, bench, alone, now, nil), suspects: survey.assembly.parts, commit: survey.whole
            ) { _, commit in
                async let suite = laboratory.observe(commit, arrangement), all = laboratory.observe(commit)
                guard let alone = try await suite.instructions(ofBenches: true)[bench],
                    let now = try await all.instructions(ofBenches: true)[bench]
                else { return false }
                return tolerance.exceeds(now, alone)
            }
        }
    }

    /// Figures that are more than the base's and what each part adds to them.
    private func larger() -> [Finding] {
        let homes = Self.homesOfFigures(survey)
        return Self.sums(survey).compactMap { sum in
            // Sections end on pages; of what is counted in pages there may be a table more on each level.
            let tolerance = Tolerance(share: share, floor: sum.name.hasPrefix("image.") ? 4096 : 4)
            guard tolerance.exceeds(sum.combined, sum.expected), let home = homes[sum.name] else { return nil }
            let value = { @Sendable (observation: Observation) in observation.figure(sum.name) }
            return Finding(
                interaction: interaction(.figure, sum.name, sum.expected, sum.combined, nil), owner: home.owner,
                suspects: survey.assembly.parts, commit: survey.whole
            ) { parts, commit in
                guard let now = value(try await laboratory.observe(commit)),
                    let expected = survey.expected(of: parts, home: home, value)
                else { return false }
                return tolerance.exceeds(now, expected)
            }
        }
    }

    private static func homesOfFigures(_ survey: Survey) -> [String: Survey.Home] {
        let homes = survey.homes(among: survey.assembly.parts, of: { $0.figures.map(\.name) })
        return Dictionary(uniqueKeysWithValues: homes.map { ($0.name, $0.home) })
    }

    /// Of all figures that the whole has, and the base or a part.
    static func sums(_ survey: Survey) -> [Composition.Sum] {
        let homes = homesOfFigures(survey)
        return survey.combined.figures.compactMap { figure in
            guard let home = homes[figure.name],
                let expected = survey.expected(of: survey.assembly.parts, home: home, { $0.figure(figure.name) })
            else { return nil }
            return Composition.Sum(
                name: figure.name, base: survey.base.figure(figure.name) ?? 0, expected: expected, combined: figure.value)
        }
    }

    private func interaction(
        _ kind: Interaction.Kind, _ name: String, _ alone: Int, _ now: Int, _ configuration: String?, evidence: [String] = []
    ) -> Interaction {
        Interaction(
            kind: kind, test: name, alone: .ok, combined: .ok, evidence: evidence, configuration: configuration,
            cost: .init(alone: alone, combined: now))
    }
}

extension Survey {
    /// What a number at home, and what each part adds to it where it is alone, come to.
    func expected(of chosen: [Part], home: Home, _ value: (Observation) -> Int?) -> Int? {
        guard let start = value(home.observation) else { return nil }
        return assembly.parts.indices.reduce(start) { sum, index in
            guard chosen.contains(assembly.parts[index]), assembly.parts[index] != home.owner,
                let with = value(parts[index]), let without = value(grounds[index])
            else { return sum }
            return sum + max(0, with - without)
        }
    }
}
