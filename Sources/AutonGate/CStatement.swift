/// A statement, a block's head or an item of an initialiser, with what it stands in.
struct CStatement: Sendable, Hashable {
    /// On one line.
    var text: String
    /// The heads of the blocks around it and the conditions of the preprocessor, outermost first.
    var around: [String]

    static func == (a: CStatement, b: CStatement) -> Bool { a.text == b.text && a.around == b.around }
}

extension CSource {
    /// What a unit consists of, in order, each with its words.
    func statements(of unit: CUnit) -> [(statement: CStatement, words: ArraySlice<Token>)] {
        var found: [(CStatement, ArraySlice<Token>)] = []
        var around: [String] = [], parentheses = 0
        var start = unit.words.lowerBound
        var conditions = Conditions(directives)
        func add(upTo end: Int) {
            guard start < end else { return }
            let words = tokens[start..<end]
            found.append((CStatement(text: words.spelling, around: conditions.open + around), words))
        }
        for index in unit.words {
            let token = tokens[index]
            if conditions.advance(to: index) {
                add(upTo: index)
                start = index
            }
            guard token.kind == .punctuator else { continue }
            switch token.text {
            case "(", "[": parentheses += 1
            case ")", "]": parentheses -= 1
            case "{" where parentheses <= 0:
                add(upTo: index)
                around.append(tokens[start..<index].spelling)
                start = index + 1
            case "}" where parentheses <= 0:
                add(upTo: index)
                _ = around.popLast()
                start = index + 1
            case ";" where parentheses <= 0:
                add(upTo: index)
                start = index + 1
            case "," where parentheses <= 0 && !around.isEmpty:
                add(upTo: index)
                start = index + 1
            default: continue
            }
        }
        add(upTo: unit.words.upperBound)
        return found
    }
}

/// The conditions of the preprocessor that are open at a place of a file.
struct Conditions {
    private var waiting: ArraySlice<CSource.Directive>
    private(set) var open: [String] = []

    init(_ directives: [CSource.Directive]) { waiting = directives[...] }

    /// Goes on to the word at `position`; whether a condition opened, changed or closed.
    mutating func advance(to position: Int) -> Bool {
        var changed = false
        while let directive = waiting.first, directive.position <= position {
            waiting = waiting.dropFirst()
            let text = "#\(directive.name) \(directive.words.spelling)"
            switch directive.name {
            case "if", "ifdef", "ifndef": open.append(text)
            case "else", "elif", "elifdef", "elifndef": open.append((open.popLast() ?? "") + " " + text)
            case "endif": _ = open.popLast()
            default: continue
            }
            changed = true
        }
        return changed
    }
}
