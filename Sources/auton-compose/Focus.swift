import AutonGate
import AutonMessages

/// What parts are asked that nobody has seen before: what the base does not have, and what is another in company than there. All else
/// that they could say has no part in any comparison. Counts go by what ran before, so that what is found in this way is looked at
/// again in whole boots.
extension Survey {
    /// What the harness has room for.
    private static let room = 1000

    /// Nil if parts are to be asked for all: they are known, or it is too much for a choice, or too little went well to make one.
    static func focus(_ survey: Survey, share: Double, in laboratory: Laboratory) async throws -> Arrangement? {
        let (base, combined) = (survey.base, survey.combined)
        let strangers = try await concurrently(survey.assembly.parts) { try await isKnown($0, laboratory) ? [] : [$0] }.flatMap(
            \.self)
        guard !strangers.isEmpty, base.endedIn == nil, combined.endedIn == nil, let first = base.tests.first?.name else {
            return nil
        }
        var names = Set(combined.tests.filter { base.outcome(of: $0.name) != $0.outcome }.map(\.name))
        for measure in SpeedFindings.measures(share: share) {
            let before = measure.of(base)
            let other = measure.ofWhole(survey).filter { name, now in
                before[name].map { measure.tolerance.exceeds(now, $0) } ?? true
            }
            names.formUnion(other.keys)
        }
        // One that a part makes faster may be as slow as ever in company.
        names.formUnion(base.counts.benches.map(\.name))
        // What a part has that the whole has lost.
        let had = Set(base.tests.map(\.name) + base.counts.benches.map(\.name))
        for image in try await concurrently(strangers, { try await laboratory.image(of: $0.commit) }) {
            guard case .success(let image) = image else { return nil }
            names.formUnion(image.tests.subtracting(had))
        }
        let focus = Arrangement(suites: names.union([first]).sorted())
        return focus.suites.joined(separator: ",").utf8.count <= room ? focus : nil
    }

    /// Parts and what they were made on, those that are known already as they were seen whole.
    func alone(in laboratory: Laboratory) async throws -> (parts: [Observation], grounds: [Observation]) {
        let seen = try await concurrently(assembly.parts) { part in
            var arrangement = Arrangement()
            if let focus, try await !Self.isKnown(part, laboratory) { arrangement = focus }
            return (try await laboratory.observe(part.commit, arrangement), try await laboratory.observe(part.base, arrangement))
        }
        return (seen.map(\.0), seen.map(\.1))
    }

    /// Whether neither it nor what it was made on needs a boot.
    private static func isKnown(_ part: Part, _ laboratory: Laboratory) async throws -> Bool {
        for commit in [part.commit, part.base] where try await !laboratory.knows(commit) { return false }
        return true
    }
}
