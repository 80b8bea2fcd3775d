/// A test, benchmark or figure in one of the kernel's own files, or what only those use there: a `static` function or table, a
/// type, an enumeration, a macro.
struct TestUnit {
    /// What must still be there: its words, and the conditions that it stands under.
    struct Content: Hashable {
        var conditions: [String]
        var words: [WrittenWord]
    }

    /// `the test mm.frames`
    var description: String
    var line: Int
    var content: Content
    /// The names in it and in its conditions.
    var names: Set<String>

    /// - Parameter isHeader: what asserts in it is there for tests of other files.
    static func all(in source: CSource, isHeader: Bool) -> [TestUnit] {
        let pieces = Piece.all(in: source)
        var isTest = pieces.map { $0.isTest || isHeader && $0.asserts }
        var users: [String: [Int]] = [:]
        for (index, piece) in pieces.enumerated() { for name in piece.names { users[name, default: []].append(index) } }
        // What only tests use may itself be all that uses another, which mostly stands before it.
        for _ in 0..<3 {
            for (index, piece) in pieces.enumerated().reversed() where piece.isOwn && !isTest[index] {
                let users = piece.defines.flatMap { users[$0] ?? [] }.filter {
                    pieces[$0].defines.isDisjoint(with: piece.defines)
                }
                isTest[index] = !users.isEmpty && users.allSatisfy { isTest[$0] }
            }
        }
        return pieces.indices.filter { isTest[$0] }.map { index in
            let piece = pieces[index]
            let ofConditions = piece.content.conditions.flatMap {
                $0.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
            }
            return TestUnit(
                description: piece.description, line: piece.line, content: piece.content,
                names: piece.names.union(ofConditions))
        }
    }

    /// What of the file could be a test of before.
    static func contents(in source: CSource) -> Set<Content> { Set(Piece.all(in: source).map(\.content)) }
}

/// A unit or directive of a file.
private struct Piece {
    var description: String
    var line: Int
    var content: TestUnit.Content
    var names: Set<String>
    /// What others know it by.
    var defines: Set<String>
    var isTest = false
    var asserts: Bool { !names.isDisjoint(with: AddedTests.assertions) }
    /// Whether nobody outside of the file, and no condition, can use it.
    var isOwn = false

    static func all(in source: CSource) -> [Piece] {
        let conditions = source.conditions
        return zip(source.units, conditions.ofUnits).map { Piece($0, $1, source) }
            + zip(source.directives, conditions.ofDirectives).map { Piece($0, $1) }
    }

    private init(_ unit: CUnit, _ conditions: [String], _ source: CSource) {
        let words = source.tokens[unit.words]
        // `enum { ROUNDS = 100 };`, which declares no variable.
        let isType =
            words.first.map { ["enum", "struct", "union"].contains($0.text) } == true
            && words.dropLast().last?.isPunctuator("}") == true && unit.kind == .declaration
        isTest = [.test, .benchmark, .figure, .panic].contains(unit.kind)
        isOwn = source.isStatic(unit) || isType || words.first?.isIdentifier("typedef") == true
        description =
            switch unit.kind {
            case .test: "the test \(unit.name)"
            case .benchmark: "the benchmark \(unit.name)"
            case .figure: "the figure \(unit.name)"
            case .panic: "the panic \(unit.name)"
            case .function, .declaration: "\(unit.name), which only tests use,"
            }
        line = unit.lines.lowerBound
        content = TestUnit.Content(conditions: conditions, words: source.written(unit))
        names = Set(words.filter { $0.kind == .identifier }.map(\.text))
        defines = [unit.name]
        if isType {
            for (before, word) in zip(words, words.dropFirst()) where word.kind == .identifier {
                // The tag, and an enumeration's constants.
                if ["enum", "struct", "union"].contains(before.text) && before.text == words.first?.text
                    || words.first?.text == "enum" && (before.isPunctuator("{") || before.isPunctuator(","))
                {
                    defines.insert(word.text)
                }
            }
        }
    }

    private init(_ directive: CSource.Directive, _ conditions: [String]) {
        let name = directive.words.first?.text ?? ""
        let isMacro = ["define", "undef"].contains(directive.name)
        isOwn = isMacro
        description = "the macro \(name), which only tests use,"
        line = directive.line
        content = TestUnit.Content(
            conditions: conditions, words: [WrittenWord(text: directive.written, line: directive.line)])
        names = Set(directive.words.filter { $0.kind == .identifier }.map(\.text))
        defines = isMacro ? [name] : []
    }
}
