import AutonGate
import AutonKit
import AutonMessages
import SystemPackage

/// Finds out who is to blame for a finding, and for what of theirs.
struct Blame: Sendable {
    let assembly: Assembly
    let laboratory: Laboratory
    /// The source of QEMU's plugin that counts instructions by function.
    let profiler: FilePath

    private static let mostFunctions = 5

    func judge(_ finding: Finding) async throws -> Interaction {
        if let chance = try await chance(finding) { return chance }
        var interaction = finding.interaction
        guard let blamed = try await guilty(of: finding) else { return interaction }
        interaction.blamed = blamed.map(\.name)
        if let reference = finding.reference, let guilty = try await assembly.commit(of: blamed) {
            interaction.functions = try await functions(interaction, alone: reference, combined: guilty)
        }
        return interaction
    }

    /// The smallest set that shows it, in order; empty where it shows without any; nil where it does not even show with all of them.
    private func guilty(of finding: Finding) async throws -> [Part]? {
        let shows = { @Sendable (parts: [Part]) in
            guard let commit = try await assembly.commit(of: parts) else { return false }
            return try await finding.shows(assembly.closure(of: parts), commit)
        }
        let kept = finding.owner.map { [$0] } ?? []
        if try await shows(kept) { return kept }
        guard try await shows(kept + finding.suspects) else { return nil }
        let there = assembly.closure(of: kept)
        let others = try await minimize(finding.suspects.filter { !there.contains($0) }) { try await shows(kept + $0) }
        let least = try await leastClosure(of: kept + others, with: there, shows: shows)
        return least.filter { part in kept.contains(part) || !least.contains { $0.needs.contains(part.name) } }
    }

    /// Of a set and all that it needs, as few as show it: delta debugging takes whoever stands on the guilty for them.
    ///
    /// - Parameter kept: what none is without.
    private func leastClosure(
        of chosen: [Part], with kept: [Part], shows: ([Part]) async throws -> Bool
    ) async throws -> [Part] {
        var left = assembly.closure(of: chosen)
        if left.count == Set(kept + chosen).count { return left }
        for part in left.reversed() where left.contains(part) && !kept.contains(part) {
            let fewer = left.filter { $0 != part && !$0.needs.contains(part.name) }
            if try await shows(fewer) { left = fewer }
        }
        return left
    }

    /// What those did who are to blame for anything.
    func changes(of interactions: [Interaction]) async throws -> [Composition.Change] {
        let names = Set(interactions.flatMap { $0.blamed ?? [] })
        return try await concurrently(assembly.parts.filter { names.contains($0.name) }) { part in
            let change = try await Change(from: part.base, to: part.commit, in: assembly.workspace.git)
            return Composition.Change(
                part: part.name, branch: part.branch, commit: part.commit, change: change.summary(base: part.base))
        }
    }

    /// What is not seen a second time was chance.
    private func chance(_ finding: Finding) async throws -> Interaction? {
        guard finding.interaction.kind != .figure, finding.interaction.cost == nil else { return nil }
        var again = finding.arrangement
        again.repetition += 1
        async let one = laboratory.observe(finding.commit, finding.arrangement)
        async let other = laboratory.observe(finding.commit, again)
        let place = finding.interaction.configuration ?? "combined"
        return ChanceFindings.outcomes(try await one, try await other, "\(place), twice")
            .first { $0.test == finding.interaction.test }
    }

    /// Where the guilty spend more instructions than there are spent alone.
    private func functions(_ interaction: Interaction, alone: String, combined: String) async throws
        -> [Interaction.FunctionCost]?
    {
        guard case .success(let before) = try await laboratory.image(of: alone),
            case .success(let after) = try await laboratory.image(of: combined)
        else { return nil }
        let profile = try await laboratory.profile(source: profiler)
        let isBench = try await laboratory.observe(combined).instructions(ofBenches: true)[interaction.test] != nil
        let seconds = laboratory.limits.bootSeconds
        async let first = profile.functions(of: interaction.test, isBench: isBench, in: before.path, seconds: seconds)
        async let second = profile.functions(of: interaction.test, isBench: isBench, in: after.path, seconds: seconds)
        let (old, new) = try await (first, second)
        let grown = new.map { Interaction.FunctionCost(function: $0.key, alone: old[$0.key] ?? 0, combined: $0.value) }
            .filter { $0.combined > $0.alone }
            .sorted { ($1.combined - $1.alone, $0.function) < ($0.combined - $0.alone, $1.function) }
        return Array(grown.prefix(Self.mostFunctions))
    }
}
