import AutonMessages

/// Something that is one thing alone and another in company, before it is known who is to blame.
struct Finding: Sendable {
    /// Without blame.
    var interaction: Interaction
    /// The part without which there is no such test.
    var owner: Part?
    /// Among whom the smallest set is looked for.
    var suspects: [Part]
    /// Where it was seen: a commit, and how it was booted.
    var commit: String
    var arrangement = Arrangement()
    /// Whether it is to be seen in a boot, of a commit that has these parts.
    var shows: @Sendable (_ parts: [Part], _ commit: String) async throws -> Bool
    /// The commit that it is compared with, where it has to do with speed.
    var reference: String?
}

extension [Finding] {
    /// Those of tests that are not among the known.
    func without(_ known: [Finding]) -> [Finding] {
        let tests = Set(known.map(\.interaction.test))
        return filter { !tests.contains($0.interaction.test) }
    }
}

/// How much more a benchmark or figure may take in company.
struct Tolerance: Sendable {
    /// Per cent.
    var share: Double
    /// What is always allowed.
    var floor = 0

    func exceeds(_ now: Int, _ expected: Int) -> Bool { Double(now) > Double(expected) * (1 + share / 100) + Double(floor) }
}
