/// What a part has to do with others: by the files that it changes, by what these define and use, and by the linker's tables
/// that they enter something into.
struct Touch: Sendable {
    /// Kinds of things are told apart by their first word.
    private(set) var things: Set<String>
    /// Symbols that it defines.
    private(set) var defined: Set<String>

    /// - Parameters:
    ///   - paths: the files that the part changes.
    ///   - objects: of its tree.
    init(paths: [String], objects: [ObjectSymbols]) {
        let paths = Set(paths)
        let own = objects.filter { paths.contains($0.source) }
        defined = own.reduce(into: []) { $0.formUnion($1.defined) }
        // What the harness gives, all tests use.
        let harness = objects.filter { $0.source.hasPrefix("harness/") }.reduce(into: Set<String>()) { $0.formUnion($1.defined) }
        let used = own.reduce(into: Set<String>()) { $0.formUnion($1.used) }.subtracting(harness)
        things = Set(paths.map { "file \($0)" } + used.union(defined).map { "symbol \($0)" })
        things.formUnion(own.flatMap(\.tables).map { "table \($0)" })
    }

    /// What more parts than these have in common does not bring two of them together: pairs would grow with the square
    /// of the parts.
    static let most = 8

    /// The pairs of parts, by their places, that touch each other: one changes a file that the other changes, uses what the
    /// other defines, or uses something that few others do.
    static func pairs(_ touches: [Touch]) -> [(Int, Int)] {
        var owners: [String: [Int]] = [:]
        for (index, touch) in touches.enumerated() {
            for thing in touch.things { owners[thing, default: []].append(index) }
        }
        var pairs: Set<[Int]> = []
        for (thing, indices) in owners {
            let symbol = thing.hasPrefix("symbol ") ? String(thing.dropFirst("symbol ".count)) : nil
            let definers = symbol.map { symbol in indices.filter { touches[$0].defined.contains(symbol) } } ?? []
            for one in indices.count <= most ? indices : definers {
                for other in indices where other != one { pairs.insert([one, other].sorted()) }
            }
        }
        return pairs.map { ($0[0], $0[1]) }.sorted { $0 < $1 }
    }
}
