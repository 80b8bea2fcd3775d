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
        let before = old.statements, after = new.statements
        let (lost, added) = Self.compare(before, after)
        let name = old.unit.name
        let was = Self.count(before), now = Self.count(after)
        if was > now { found.append("\(name): \(Text.count(was - now, "assertion")) fewer") }
        found += lost.prefix(Self.most).map { "\(name): \(Self.describe($0, after))" }
        if lost.count > Self.most { found.append("\(name): \(lost.count - Self.most) more statements changed") }
        let asserted = Self.asserted(before), blocks = Set(before.flatMap(\.statement.around))
        // What is added after all that was there cannot take anything from it.
        for (line, place) in added {
            found += Self.harm(in: line, blocks) { (asserted[$0] ?? -1) >= place }.map { "\(name): \($0)" }
        }
    }

    /// Old statements that are not there any more in their order and place; new ones before an old one, with its index.
    private static func compare(_ before: [Line], _ after: [Line]) -> (lost: [Line], added: [(Line, Int)]) {
        var places = Dictionary(grouping: after.indices) { after[$0].statement }.mapValues { $0[...] }
        var lost: [Line] = [], added: [(Line, Int)] = []
        var next = after.startIndex
        for (index, line) in before.enumerated() {
            let rest = places[line.statement]?.drop { $0 < next } ?? []
            places[line.statement] = rest
            guard let place = rest.first else {
                lost.append(line)
                continue
            }
            added += after[next..<place].map { ($0, index) }
            next = place + 1
        }
        return (lost, added)
    }

    /// The last assertion about each name.
    private static func asserted(_ lines: [Line]) -> [String: Int] {
        lines.enumerated().filter { isAssertion($1) }.reduce(into: [:]) { found, line in
            for word in line.element.words where word.kind == .identifier { found[word.text] = line.offset }
        }
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

    /// - Parameters:
    ///   - blocks: the heads of what was there.
    ///   - isAsserted: whether an assertion after the line is about the name.
    private static func harm(in line: Line, _ blocks: Set<String>, isAsserted: (String) -> Bool) -> [String] {
        let text = Text.lines(line.statement.text).first ?? ""
        if let exit = line.words.first(where: { $0.kind == .identifier && exits.contains($0.text) }) {
            if exit.text == "KSKIP" || exit.text == "ktest_skip" { return ["skips what was there: \(text)"] }
            let isLoop = { (text: String) in loops.contains { text.hasPrefix($0) } }
            let isOwn = isLoop(text) || line.statement.around.contains { isLoop($0) && !blocks.contains($0) }
            if !(isOwn && ["break", "continue"].contains(exit.text)) { return ["leaves before what was there: \(text)"] }
        }
        if isAssertion(line) { return [] }
        // After a type it is a variable of its own.
        let pairs = Array(zip(line.words, line.words.dropFirst()))
        let declared = Set(pairs.filter { $0.kind == .identifier && $1.kind == .identifier }.map(\.1.text))
        return pairs.compactMap { name, operation in
            guard name.kind == .identifier, isAssignment(operation), isAsserted(name.text), !declared.contains(name.text) else {
                return nil
            }
            return "sets \(name.text), about which it asserts: \(text)"
        }
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
