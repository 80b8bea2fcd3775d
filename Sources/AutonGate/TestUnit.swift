/// A test, or what tests stand on, with the file that it is in.
struct TestUnit {
    var unit: CUnit
    var path: String
    var statements: [(statement: CStatement, words: ArraySlice<Token>)]

    /// More candidates for what a unit became than this are not compared with it one by one.
    private static let mostCandidates = 8

    static func isPathOfTests(_ path: String) -> Bool { path.hasPrefix("tests/") }

    /// In a file of tests all units: what the tests stand on is as good as a part of them. In the kernel's own files it
    /// is the kernel, and only the tests count.
    static func all(of source: CSource?, in path: String) -> [TestUnit] {
        guard let source else { return [] }
        return source.units.filter { isPathOfTests(path) || $0.kind == .test }.map { unit in
            TestUnit(unit: unit, path: path, statements: source.statements(of: unit))
        }
    }

    /// In how many units of the file each name is.
    static func uses(in source: CSource) -> [String: Int] {
        source.units.reduce(into: [:]) { uses, unit in
            for name in Set(source.tokens[unit.words].filter { $0.kind == .identifier }.map(\.text)) {
                uses[name, default: 0] += 1
            }
        }
    }

    /// What finds it again after the change.
    private var key: String { "\(unit.kind) \(unit.body == nil) \(unit.name)" }

    /// - Parameters:
    ///   - after: what there is after the change.
    ///   - uses: of the file before it.
    func losses(among after: Index, uses: [String: Int]) -> [String] {
        if after.hasAsItIs(self) { return [] }
        let candidates = after.candidates(for: self)
        guard !candidates.isEmpty else {
            if unit.kind == .test { return ["removes the test \(unit.name)"] }
            return unit.kind == .function && uses[unit.name, default: 0] > 1 ? ["removes \(unit.name), on which tests stand"] : []
        }
        // Declarations without a name of their own share one.
        let losses = candidates.prefix(Self.mostCandidates).map { Weakening(of: self, to: $0).found }
        return losses.contains([]) ? [] : losses[0]
    }

    /// Units by what finds them again.
    struct Index {
        private struct Exact: Hashable {
            var place: String
            var statements: [CStatement]

            init(_ unit: TestUnit) { (place, statements) = ("\(unit.path) \(unit.key)", unit.statements.map(\.statement)) }
        }

        private var byKey: [String: [TestUnit]]
        private var byPlace: [String: [TestUnit]]
        private var exact: Set<Exact>

        init(_ units: [TestUnit]) {
            byKey = Dictionary(grouping: units, by: \.key)
            byPlace = Dictionary(grouping: units) { "\($0.path) \($0.key)" }
            exact = Set(units.map(Exact.init))
        }

        func hasAsItIs(_ unit: TestUnit) -> Bool { exact.contains(Exact(unit)) }

        /// Names that are static in their files are others elsewhere.
        func candidates(for unit: TestUnit) -> [TestUnit] { byPlace["\(unit.path) \(unit.key)"] ?? byKey[unit.key] ?? [] }
    }
}
