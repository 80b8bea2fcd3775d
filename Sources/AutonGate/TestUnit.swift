/// A test, benchmark or figure in one of the kernel's own files, or what only those use there: a `static` function or table.
struct TestUnit {
    /// What must still be there: its words, and the conditions that it stands under.
    struct Content: Hashable {
        var conditions: [String]
        var words: [WrittenWord]
    }

    var unit: CUnit
    var content: Content
    /// The names in it and in its conditions.
    var names: Set<String>

    /// `the test mm.frames`
    var description: String {
        switch unit.kind {
        case .test: "the test \(unit.name)"
        case .benchmark: "the benchmark \(unit.name)"
        case .figure: "the figure \(unit.name)"
        case .panic: "the panic \(unit.name)"
        case .function, .declaration: "\(unit.name), which only tests use"
        }
    }

    static func all(in source: CSource) -> [TestUnit] {
        let names = source.units.map { unit in
            Set(source.tokens[unit.words].filter { $0.kind == .identifier }.map(\.text))
        }
        var isTest = source.units.map { [.test, .benchmark, .figure, .panic].contains($0.kind) }
        let isStatic = source.units.map { unit in
            source.tokens[unit.words].prefix { !$0.isIdentifier(unit.name) }.contains { $0.isIdentifier("static") }
        }
        let ofMacros = Set(source.directives.flatMap(\.words).filter { $0.kind == .identifier }.map(\.text))
        // What only tests use may itself be all that uses another.
        for _ in 0..<3 {
            for (index, unit) in source.units.enumerated()
            where !isTest[index] && isStatic[index] && !ofMacros.contains(unit.name) {
                let users = source.units.indices.filter { source.units[$0].name != unit.name && names[$0].contains(unit.name) }
                isTest[index] = !users.isEmpty && users.allSatisfy { isTest[$0] }
            }
        }
        return source.units.indices.filter { isTest[$0] }.map { index in
            let unit = source.units[index], conditions = source.conditions(of: unit)
            let ofConditions = conditions.flatMap { $0.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init) }
            return TestUnit(
                unit: unit, content: Content(conditions: conditions, words: source.written(unit)),
                names: names[index].union(ofConditions))
        }
    }
}
