/// A word of a C file as it is written, or a whole directive.
struct WrittenWord: Hashable {
    var text: String
    var line: Int

    static func == (a: WrittenWord, b: WrittenWord) -> Bool { a.text == b.text }

    func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

extension CSource {
    /// What the compiler gets of the file, whatever its layout: its words and directives, in their order.
    var written: [WrittenWord] { written(tokens.indices, directives) }

    /// The same of a unit, without the directives around it.
    func written(_ unit: CUnit) -> [WrittenWord] {
        let inside = unit.words.lowerBound + 1..<max(unit.words.lowerBound + 1, unit.words.upperBound)
        return written(unit.words, directives.filter { inside.contains($0.position) })
    }

    private func written(_ words: Range<Int>, _ directives: [Directive]) -> [WrittenWord] {
        var found: [WrittenWord] = []
        var waiting = directives[...]
        func addDirectives(upTo position: Int) {
            while let directive = waiting.first, directive.position <= position {
                found.append(WrittenWord(text: directive.written, line: directive.line))
                waiting = waiting.dropFirst()
            }
        }
        for index in words {
            addDirectives(upTo: index)
            found.append(WrittenWord(text: tokens[index].written ?? tokens[index].text, line: tokens[index].line))
        }
        addDirectives(upTo: words.upperBound)
        return found
    }

    /// The conditions of the preprocessor that a unit stands under, outermost first.
    func conditions(of unit: CUnit) -> [String] {
        var open: [String] = []
        for directive in directives where directive.position <= unit.words.lowerBound {
            switch directive.name {
            case "if", "ifdef", "ifndef": open.append(directive.written)
            case "else", "elif", "elifdef", "elifndef": open.append((open.popLast() ?? "") + directive.written)
            case "endif": _ = open.popLast()
            default: continue
            }
        }
        return open
    }
}

extension CSource.Directive {
    /// On one line; white space counts by whether there is any.
    var written: String {
        words.reduce("#\(name)") { $0 + ($1.isTight ? "" : " ") + ($1.written ?? $1.text) }
    }
}
