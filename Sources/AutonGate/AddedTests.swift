/// The tests in the files that a change touches, by whether they assert anything.
///
/// An assertion counts if it names something: `KASSERT(true)` holds whatever the kernel does. It may be in a function or macro
/// of the test's file, or of a header in `tests/` or of the change, as far from the test as calls go.
struct AddedTests {
    private(set) var asserting: Set<String> = []
    private(set) var empty: Set<String> = []

    /// None.
    init() {}

    init(_ change: Change) {
        let sources = change.files.compactMap(\.newC).filter { $0.units.contains { $0.kind == .test } }.map(Code.init)
        if sources.isEmpty { return }
        let headers =
            change.files.filter { Change.isHeader($0.path) }.compactMap(\.newC) + change.headersOfTests.map { CSource($0) }
        let shared = Self.helpers(in: headers.map(Code.init), Self.assertions)
        for source in sources {
            let helpers = Self.helpers(in: [source], shared)
            for (unit, body) in source.bodies where unit.kind == .test {
                if Self.asserts(body, helpers) { asserting.insert(unit.name) } else { empty.insert(unit.name) }
            }
        }
    }

    /// What of a file is looked at, round after round.
    private struct Code {
        var bodies: [(unit: CUnit, words: ArraySlice<Token>)]
        var macros: [ArraySlice<Token>]

        init(_ source: CSource) {
            let leftOut = source.leftOut
            bodies = source.units.filter { $0.kind == .function || $0.kind == .test }.map {
                ($0, AddedTests.body($0, source, leftOut))
            }
            macros = source.macros.map { $0.words[...] }
        }
    }

    /// The names of what asserts, those known already included.
    private static func helpers(in sources: [Code], _ known: Set<String>) -> Set<String> {
        var helpers = known
        // Each round goes one call further; nobody's tests go further than this.
        for _ in 0..<8 {
            let count = helpers.count
            for source in sources {
                for (unit, body) in source.bodies where unit.kind == .function && asserts(body, helpers) {
                    helpers.insert(unit.name)
                }
                for macro in source.macros {
                    guard let name = macro.first, asserts(macro.dropFirst(), helpers) else { continue }
                    helpers.insert(name.text)
                }
            }
            if helpers.count == count { break }
        }
        return helpers
    }

    static let assertions: Set<String> = [
        "KASSERT", "KASSERT_EQ", "KASSERT_STREQ", "ktest_fail", "ktest_fail_eq", "ktest_fail_str",
    ]
    private static let constants: Set<String> = ["true", "false", "NULL", "sizeof"]

    /// What of it can be executed: nothing behind `#if 0` or `if (0)`, or behind a `return` that stands under no condition.
    private static func body(_ unit: CUnit, _ source: CSource, _ leftOut: Set<Int>) -> ArraySlice<Token> {
        let all = (unit.body ?? unit.words.upperBound)..<unit.words.upperBound
        var words: [Token] = [], depth = 0, end = all.lowerBound
        for index in all where !leftOut.contains(index) && index >= end {
            let word = source.tokens[index]
            if let after = endOfNever(source.tokens[index..<all.upperBound]) {
                end = after
                continue
            }
            if word.isPunctuator("{") { depth += 1 } else if word.isPunctuator("}") { depth -= 1 }
            if depth == 1, word.isIdentifier("return"), [";", "{", "}"].contains(words.last?.text) { break }
            words.append(word)
        }
        return words[...]
    }

    /// Where what is behind `if (0)`, with which the words begin, ends; nil if they begin with something else.
    private static func endOfNever(_ words: ArraySlice<Token>) -> Int? {
        guard let first = words.first, ["if", "while"].contains(first.text), words.count > 4,
            words[words.startIndex + 1].isPunctuator("("), ["0", "false"].contains(words[words.startIndex + 2].text),
            words[words.startIndex + 3].isPunctuator(")")
        else { return nil }
        var depth = 0
        for index in words.indices.dropFirst(4) {
            if words[index].isPunctuator("{") { depth += 1 }
            if words[index].isPunctuator("}") { depth -= 1 }
            if depth <= 0, words[index].isPunctuator(";") || words[index].isPunctuator("}") { return index + 1 }
        }
        return words.endIndex
    }

    /// Whether one of the assertions is called with a name among its arguments, or one of the helpers at all.
    private static func asserts(_ words: ArraySlice<Token>, _ helpers: Set<String>) -> Bool {
        zip(words.indices, words.indices.dropFirst()).contains { index, next in
            guard words[next].isPunctuator("("), words[index].kind == .identifier, helpers.contains(words[index].text) else {
                return false
            }
            guard ["KASSERT", "KASSERT_EQ", "KASSERT_STREQ"].contains(words[index].text) else { return true }
            let arguments = ConstantParser.inside(words[next...])
            return arguments.contains { $0.kind == .identifier && !constants.contains($0.text) } && !alwaysHolds(arguments)
        }
    }

    /// Whether one is compared with itself, or something with true or 1 for another choice.
    private static func alwaysHolds(_ arguments: ArraySlice<Token>) -> Bool {
        let compared = split(arguments, at: ",")
        if compared.count == 2, compared[0].map(\.text) == compared[1].map(\.text),
            !compared[0].contains(where: { $0.isPunctuator("(") })
        {
            return true
        }
        let choices = split(arguments, at: "||")
        return choices.count > 1 && choices.contains { $0.count == 1 && ["true", "1"].contains($0[$0.startIndex].text) }
    }

    /// The pieces between those that stand in no brackets.
    private static func split(_ words: ArraySlice<Token>, at separator: String) -> [ArraySlice<Token>] {
        var depth = 0
        return words.split(omittingEmptySubsequences: false) { word in
            if ["(", "[", "{"].contains(where: word.isPunctuator) { depth += 1 }
            if [")", "]", "}"].contains(where: word.isPunctuator) { depth -= 1 }
            return depth == 0 && word.isPunctuator(separator)
        }
    }
}
