import AutonMessages

/// What differs between two boots that are to be the same.
struct ChanceFindings: Sendable {
    let survey: Survey

    /// How that is told which differs from itself where time is instructions.
    static let counted = "twice in instructions"

    /// How that is told which does not differ from itself, but in instructions from what it is by the clock.
    static let byClock = "in instructions, then by the clock"

    func all() -> [Interaction] {
        let (first, second) = (survey.combined, survey.again)
        var found = Self.outcomes(first, second, Self.counted)
        found += Self.counts(first, second)
        if first.console != second.console, found.isEmpty {
            let lines = zip(first.console, second.console).first { $0 != $1 }.map { [$0, $1] } ?? []
            found.append(
                Interaction(kind: .chance, test: "console", alone: .ok, combined: .ok, evidence: lines, configuration: "twice"))
        }
        if let one = survey.byClock.first, let other = survey.byClock.last {
            found += Self.fresh(Self.outcomes(one, other, "twice by the clock"), found)
            found += Self.fresh(Self.outcomes(first, one, Self.byClock), found)
        }
        return found
    }

    private static func fresh(_ more: [Interaction], _ known: [Interaction]) -> [Interaction] {
        let tests = Set(known.map(\.test))
        return more.filter { !tests.contains($0.test) }
    }

    /// Tests that say one thing, then another.
    static func outcomes(_ first: Observation, _ second: Observation, _ configuration: String) -> [Interaction] {
        guard first.endedIn == second.endedIn else {
            let test = first.endedIn ?? second.endedIn ?? ""
            return [
                Interaction(
                    kind: .chance, test: test, alone: first.endedIn == nil ? .ok : .missing,
                    combined: second.endedIn == nil ? .ok : .missing, evidence: both([first.failure], [second.failure]),
                    configuration: configuration)
            ]
        }
        return first.tests.compactMap { test in
            guard let other = second.verdict(on: test.name), other != test.outcome else { return nil }
            return Interaction(
                kind: .chance, test: test.name, alone: test.outcome, combined: other,
                evidence: both(first.diagnostics(of: test.name), second.diagnostics(of: test.name)), configuration: configuration)
        }
    }

    /// Tests and benchmarks that take one number of instructions, or have interrupts off for that long, then another; figures that are
    /// other ones.
    private static func counts(_ first: Observation, _ second: Observation) -> [Interaction] {
        let measures: [(unit: String, of: (Observation) -> [String: Int])] = [
            ("instructions", { $0.instructions(ofBenches: false) }), ("instructions", { $0.instructions(ofBenches: true) }),
            ("instructions with interrupts off", \.masked), ("by itself", \.numbers),
        ]
        var found: [Interaction] = []
        for (unit, measured) in measures {
            let now = measured(second), known = Set(found.map(\.test))
            found += measured(first).sorted { $0.key < $1.key }.compactMap { name, value in
                guard !known.contains(name), let other = now[name], other != value,
                    first.outcome(of: name) == second.outcome(of: name)
                else { return nil }
                return Interaction(
                    kind: .chance, test: name, alone: .ok, combined: .ok,
                    evidence: both(["\(value) \(unit)"], ["\(other) \(unit)"]), configuration: Self.counted)
            }
        }
        return found
    }

    private static func both(_ first: [String], _ second: [String]) -> [String] {
        (first.isEmpty ? ["nothing said"] : first).map { "first: \($0)" }
            + (second.isEmpty ? ["nothing said"] : second).map { "then: \($0)" }
    }
}
