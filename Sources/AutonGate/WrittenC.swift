/// A word of a C file as it is written, or a whole directive.
struct WrittenWord: Hashable {
    var text: String
    var line: Int

    static func == (a: WrittenWord, b: WrittenWord) -> Bool { a.text == b.text }

    func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

extension CSource {
    /// What the compiler gets of the file, whatever its layout: its words and directives, in their order.
    var written: [WrittenWord] { written(tokens.indices, directives[...]) }

    /// The same of a unit, without the directives around it.
    func written(_ unit: CUnit) -> [WrittenWord] {
        written(
            unit.words,
            directives[firstDirective(after: unit.words.lowerBound)..<firstDirective(after: unit.words.upperBound - 1)])
    }

    /// The index of the first that stands behind the word with that index; they are in their order.
    private func firstDirective(after position: Int) -> Int {
        var range = directives.indices
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            range = directives[middle].position > position ? range.lowerBound..<middle : middle + 1..<range.upperBound
        }
        return range.lowerBound
    }

    private func written(_ words: Range<Int>, _ directives: ArraySlice<Directive>) -> [WrittenWord] {
        var found: [WrittenWord] = []
        var waiting = directives
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

    /// The conditions of the preprocessor that each unit and each directive stands under, outermost first.
    var conditions: (ofUnits: [[String]], ofDirectives: [[String]]) {
        var open: [String] = [], ofUnits: [[String]] = [], ofDirectives: [[String]] = []
        var waiting = directives[...]
        for unit in units {
            take(&waiting, upTo: unit.words.lowerBound, &open, &ofDirectives)
            ofUnits.append(open)
        }
        take(&waiting, upTo: .max, &open, &ofDirectives)
        return (ofUnits, ofDirectives)
    }

    /// The words that stand behind an `#if 0`.
    var leftOut: Set<Int> {
        var open: [Bool] = [], leftOut: Set<Int> = [], start = 0
        for directive in directives {
            if open.contains(true) { leftOut.formUnion(start..<max(start, directive.position)) }
            start = directive.position
            switch directive.name {
            case "if": open.append(directive.words.map(\.text) == ["0"])
            case "ifdef", "ifndef": open.append(false)
            case "else", "elif", "elifdef", "elifndef": if !open.isEmpty { open[open.count - 1] = false }
            case "endif": _ = open.popLast()
            default: break
            }
        }
        if open.contains(true) { leftOut.formUnion(start..<max(start, tokens.count)) }
        return leftOut
    }

    private func take(
        _ waiting: inout ArraySlice<Directive>, upTo position: Int, _ open: inout [String], _ conditions: inout [[String]]
    ) {
        while let directive = waiting.first, directive.position <= position {
            waiting.removeFirst()
            switch directive.name {
            case "if", "ifdef", "ifndef": open.append(directive.written)
            case "else", "elif", "elifdef", "elifndef": open.append((open.popLast() ?? "") + directive.written)
            case "endif": _ = open.popLast()
            default: break
            }
            conditions.append(open)
        }
    }
}

extension CSource.Directive {
    /// On one line; white space counts by whether there is any.
    var written: String {
        words.reduce("#\(name)") { $0 + ($1.isTight ? "" : " ") + ($1.written ?? $1.text) }
    }
}
