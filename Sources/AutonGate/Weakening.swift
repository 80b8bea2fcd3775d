/// What a test, or a function or table that tests stand on, lost from one version to the next.
struct Weakening {
    /// One line for each loss.
    private(set) var found: [String] = []
    /// More than this are told by their number.
    private static let most = 3

    private typealias Line = (statement: CStatement, words: ArraySlice<Token>)
    private static let assertions: Set<String> = ["KASSERT", "KASSERT_EQ", "KASSERT_STREQ"]
    private static let exits: Set<String> = [
        "return", "goto", "KSKIP", "ktest_skip", "longjmp", "__builtin_longjmp", "__builtin_unreachable", "harness_exit", "break",
        "continue",
    ]
    private static let loops = ["for (", "while (", "do", "switch ("]

    init(of old: TestUnit, to new: TestUnit) {
        let before = old.source.statements(of: old.unit), after = new.source.statements(of: new.unit)
        if before.map(\.statement) == after.map(\.statement) { return }
        let (lost, added) = Self.compare(before, after)
        let name = old.unit.name
        let was = Self.count(before), now = Self.count(after)
        if was > now { found.append("\(name): \(Text.count(was - now, "assertion")) fewer") }
        let losses = lost.map { Self.describe($0, after) }
        found += losses.prefix(Self.most).map { "\(name): \($0)" }
        if losses.count > Self.most { found.append("\(name): \(losses.count - Self.most) more statements changed") }
        // What is added after all that was there cannot take anything from it.
        for (line, later) in added where !later.isEmpty { found += Self.harm(in: line, to: later).map { "\(name): \($0)" } }
    }

    /// Old statements that are not there any more in their order and place; new ones, each with the old ones after it.
    private static func compare(_ before: [Line], _ after: [Line]) -> (lost: [Line], added: [(Line, [Line])]) {
        var lost: [Line] = [], added: [(Line, [Line])] = []
        var next = after.startIndex
        for (index, line) in before.enumerated() {
            guard let place = after[next...].firstIndex(where: { $0.statement == line.statement }) else {
                lost.append(line)
                continue
            }
            added += after[next..<place].map { ($0, Array(before[index...])) }
            next = place + 1
        }
        return (lost, added)
    }

    private static func describe(_ line: Line, _ after: [Line]) -> String {
        let text = Text.lines(line.statement.text).first ?? ""
        if let moved = after.first(where: { $0.statement.text == line.statement.text }) {
            let new = moved.statement.around.filter { !line.statement.around.contains($0) && !$0.isEmpty }
            return new.first.map { "puts \(text) under a condition: \($0)" } ?? "moves \(text)"
        }
        if let guarded = after.first(where: { $0.statement.text.hasSuffix(" " + line.statement.text) }) {
            return "puts \(text) under a condition: \(guarded.statement.text)"
        }
        if isAssertion(line) { return "the expectation \(text) is changed or gone" }
        return "what was there is changed or gone: \(text)"
    }

    private static func harm(in line: Line, to later: [Line]) -> [String] {
        let text = line.statement.text
        if let exit = line.words.first(where: { $0.kind == .identifier && exits.contains($0.text) }) {
            if exit.text == "KSKIP" || exit.text == "ktest_skip" { return ["skips what was there: \(text)"] }
            if !(["break", "continue"].contains(exit.text) && isInOwnLoop(line, later)) {
                return ["leaves before what was there: \(text)"]
            }
        }
        if isAssertion(line) { return [] }
        let asserted = Set(later.filter(isAssertion).flatMap(\.words).filter { $0.kind == .identifier }.map(\.text))
        // After a type it is a variable of its own.
        let pairs = Array(zip(line.words, line.words.dropFirst()))
        let declared = Set(pairs.filter { $0.kind == .identifier && $1.kind == .identifier }.map(\.1.text))
        return pairs.compactMap { name, operation in
            guard name.kind == .identifier, asserted.contains(name.text), !declared.contains(name.text), isAssignment(operation)
            else { return nil }
            return "sets \(name.text), about which it asserts: \(text)"
        }
    }

    /// A loop that is added with what leaves it, in a statement or around it.
    private static func isInOwnLoop(_ line: Line, _ later: [Line]) -> Bool {
        let known = Set(later.flatMap(\.statement.around))
        let isLoop = { (text: String) in loops.contains { text.hasPrefix($0) } }
        return isLoop(line.statement.text) || line.statement.around.contains { isLoop($0) && !known.contains($0) }
    }

    private static func isAssignment(_ token: Token) -> Bool {
        token.kind == .punctuator
            && ["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", "++", "--"].contains(token.text)
    }

    private static func isAssertion(_ line: Line) -> Bool {
        line.words.contains { $0.kind == .identifier && assertions.contains($0.text) }
    }

    private static func count(_ lines: [Line]) -> Int {
        lines.reduce(0) { $0 + $1.words.count { $0.kind == .identifier && assertions.contains($0.text) } }
    }
}

/// Macros are read nowhere else: those of a file of tests stay, and no new one takes the place of a name that tests use.
struct MacrosOfTests {
    var violations: [String] = []

    init(old: CSource, new: CSource) {
        let kept = new.directives.filter { $0.name == "define" }.map(\.words.spelling)
        var told: Set<String> = []
        for directive in old.directives where directive.name == "define" && !kept.contains(directive.words.spelling) {
            let name = directive.words.first?.text ?? ""
            told.insert(name)
            violations.append("changes the macro \(name), on which tests stand")
        }
        let known = Set(old.directives.map { $0.name + $0.words.spelling })
        let used = Set(old.tokens.filter { $0.kind == .identifier }.map(\.text))
        for directive in new.directives where ["define", "undef"].contains(directive.name) {
            guard let name = directive.words.first?.text, used.contains(name), !told.contains(name),
                !known.contains(directive.name + directive.words.spelling)
            else { continue }
            violations.append("gives another meaning to \(name), which tests use: #\(directive.name) \(directive.words.spelling)")
        }
    }
}
