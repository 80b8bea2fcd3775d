import AutonMessages

/// What differs between two boots that are to be the same.
struct ChanceFindings: Sendable {
    let survey: Survey

    func all() -> [Interaction] {
        let (first, second) = (survey.combined, survey.again)
        var found = Self.outcomes(first, second, "twice in instructions")
        found += Self.counts(first, second)
        if first.console != second.console, found.isEmpty {
            let lines = zip(first.console, second.console).first { $0 != $1 }.map { [$0, $1] } ?? []
            found.append(
                Interaction(kind: .chance, test: "console", alone: .ok, combined: .ok, evidence: lines, configuration: "twice"))
        }
        if let one = survey.byClock.first, let other = survey.byClock.last {
            found += Self.fresh(Self.outcomes(one, other, "twice by the clock"), found)
            found += Self.fresh(Self.outcomes(first, one, "in instructions, then by the clock"), found)
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

    /// Tests and benchmarks that take one number of instructions, then another.
    private static func counts(_ first: Observation, _ second: Observation) -> [Interaction] {
        [false, true].flatMap { ofBenches -> [Interaction] in
            let now = second.instructions(ofBenches: ofBenches)
            return first.instructions(ofBenches: ofBenches).sorted { $0.key < $1.key }.compactMap { name, count in
                guard let other = now[name], other != count, first.outcome(of: name) == second.outcome(of: name) else {
                    return nil
                }
                return Interaction(
                    kind: .chance, test: name, alone: .ok, combined: .ok,
                    evidence: both(["\(count) instructions"], ["\(other) instructions"]), configuration: "twice in instructions")
            }
        }
    }

    private static func both(_ first: [String], _ second: [String]) -> [String] {
        (first.isEmpty ? ["nothing said"] : first).map { "first: \($0)" }
            + (second.isEmpty ? ["nothing said"] : second).map { "then: \($0)" }
    }
}
