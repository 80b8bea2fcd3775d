import AutonGate
import AutonKit

/// What the whole may hide: two changes that do not go together can be well in the company of a third.
extension Survey {
    /// Every change that touches one of two that touch each other, and is neither, is left out once, with all that needs it. Changes
    /// that have nothing to do with each other are left out of one boot, unless that goes wrong: so there are about as many boots as
    /// a change has others near it, and not as many as there are pairs. If they are asked for, every two changes on the base.
    static func subsets(_ assembly: Assembly, whole: String, in laboratory: Laboratory, allPairs: Bool) async throws -> [Subset] {
        let parts = assembly.parts
        @Sendable func observe(_ name: String, _ chosen: [Part]) async throws -> Subset? {
            guard let commit = try await assembly.commit(of: chosen) else { return nil }
            return Subset(name: name, parts: chosen, commit: commit, observation: try await laboratory.observe(commit))
        }
        if allPairs {
            let pairs = parts.indices.flatMap { one in (0..<one).map { [parts[$0], parts[one]] } }.filter { pair in
                let closure = assembly.closure(of: pair)
                // One that needs the other is never without it.
                return assembly.closure(of: [pair[0]]) != closure && assembly.closure(of: [pair[1]]) != closure
                    && closure != parts
            }
            return try await concurrently(pairs) { pair in
                try await observe("with \(pair.map(\.name).joined(separator: " + "))", assembly.closure(of: pair))
            }.compactMap(\.self)
        }
        let globals = try? await laboratory.image(of: whole).get().globals
        let touches = try await concurrently(parts) { part in
            Touch(try await Change(from: part.base, to: part.commit, in: assembly.workspace.git), globals: globals ?? [])
        }
        @Sendable func leaveOut(_ places: [Int]) async throws -> [Subset] {
            let left = Omission.dependents(of: places, in: parts)
            let name = "without \(places.map { parts[$0].name }.joined(separator: ", "))"
            let subset = try await observe(name, parts.indices.filter { !left.contains($0) }.map { parts[$0] })
            if let subset, places.count == 1 || subset.observation.endedIn == nil { return [subset] }
            return places.count == 1 ? [] : try await concurrently(places) { try await leaveOut([$0]) }.flatMap(\.self)
        }
        return try await concurrently(Omission.groups(parts, touching: Touch.pairs(touches)), leaveOut).flatMap(\.self)
    }
}

/// Which parts are left out together, by their places.
enum Omission {
    /// The parts and all that cannot be without one of them.
    static func dependents(of places: [Int], in parts: [Part]) -> Set<Int> {
        let names = Set(places.map { parts[$0].name })
        return Set(places).union(parts.indices.filter { !names.isDisjoint(with: parts[$0].needs) })
    }

    /// - Parameter pairs: those that touch each other.
    static func groups(_ parts: [Part], touching pairs: [(Int, Int)]) -> [[Int]] {
        var touched = [Set<Int>](repeating: [], count: parts.count)
        for (one, other) in pairs {
            touched[one].insert(other)
            touched[other].insert(one)
        }
        let left = parts.indices.map { dependents(of: [$0], in: parts) }
        // What is to be there when a part is left out: pairs of which it touches one, as far as they can be without it.
        let kept = parts.indices.map { part in
            let near = touched[part].flatMap { one in touched[one].map { (one, $0) } }
            return Set(near.filter { !left[part].contains($0) && !left[part].contains($1) }.flatMap { [$0, $1] })
        }
        var groups: [[Int]] = []
        for part in parts.indices where !kept[part].isEmpty {
            let place = groups.firstIndex { group in
                group.allSatisfy { left[$0].isDisjoint(with: kept[part]) && left[part].isDisjoint(with: kept[$0]) }
            }
            if let place { groups[place].append(part) } else { groups.append([part]) }
        }
        return groups
    }
}
