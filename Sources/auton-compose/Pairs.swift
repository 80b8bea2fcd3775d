import AutonGate
import AutonKit

extension Survey {
    /// Pairs of which none brings what touches another's share a boot, so that there are as many boots as a part has others that it
    /// touches, and not as many as there are pairs; unless it goes wrong, or all pairs are asked for.
    static func pairs(_ assembly: Assembly, whole: String, in laboratory: Laboratory, all: Bool) async throws -> [Pairs] {
        let parts = assembly.parts
        var places = parts.indices.flatMap { one in (0..<one).map { ($0, one) } }
        if !all {
            let globals = try? await laboratory.image(of: whole).get().globals
            let touches = try await concurrently(parts) { part in
                let change = try await Change(from: part.base, to: part.commit, in: assembly.workspace.git)
                return Touch(change, globals: globals ?? [])
            }
            places = Touch.pairs(touches)
        }
        let touching = Set(places.map { Set([parts[$0].name, parts[$1].name]) })
        let pairs = places.map { [parts[$0], parts[$1]] }.filter { pair in
            let closure = assembly.closure(of: pair)
            // One that needs the other is never without it.
            return assembly.closure(of: [pair[0]]) != closure && assembly.closure(of: [pair[1]]) != closure && closure != parts
        }
        func apart(_ one: [Part], _ other: [Part]) -> Bool {
            let (one, other) = (assembly.closure(of: one).map(\.name), assembly.closure(of: other).map(\.name))
            let others = Set(other).subtracting(one)
            return !Set(one).subtracting(other).contains { name in others.contains { touching.contains([name, $0]) } }
        }
        var boots: [[[Part]]] = []
        for pair in pairs {
            let place =
                all
                ? nil
                : boots.firstIndex { boot in
                    boot.allSatisfy { apart($0, pair) } && assembly.closure(of: boot.flatMap(\.self) + pair) != parts
                }
            if let place { boots[place].append(pair) } else { boots.append([pair]) }
        }
        @Sendable func boot(_ pairs: [[Part]]) async throws -> [Pairs] {
            if let commit = try await assembly.commit(of: pairs.flatMap(\.self)) {
                let observation = try await laboratory.observe(commit)
                if pairs.count == 1 || observation.endedIn == nil {
                    return [Pairs(pairs: pairs, commit: commit, observation: observation)]
                }
            } else if pairs.count == 1 {
                return []
            }
            return try await concurrently(pairs) { try await boot([$0]) }.flatMap(\.self)
        }
        return try await concurrently(boots, boot).flatMap(\.self)
    }
}
