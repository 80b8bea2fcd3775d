/// A string of C that goes to gas.
struct AssemblyString {
    let text: String

    /// gas's directives that read a file, of which a name or an instruction can be put together, or that give a symbol another
    /// meaning, or let another's take its place: `.set memcmp, mine`.
    static let refused: Set<String> = [
        "incbin", "include", "macro", "altmacro", "irp", "irpc", "mri", "set", "equ", "equiv", "eqv", "symver",
        "weak", "weakref",
    ]

    /// Their names, without the dot.
    var directives: [String] {
        let words = text.lowercased().split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ".") }
        return words.filter { $0.hasPrefix(".") }.map { String($0.dropFirst()) }
    }

    var names: [String] { text.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init) }

    /// `.inc{bin|}`: of what stands between the braces a compiler takes one. (`%{` is a brace.)
    var hasDialects: Bool {
        zip([" "] + text, text).contains { before, brace in (brace == "{" || brace == "}") && before != "%" }
    }

    /// `.inc`, with which the string ends: a macro may go on with `bin`.
    var endsInPart: Bool {
        let last = text.lowercased().reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }.reversed()
        guard let point = last.lastIndex(of: ".") else { return false }
        let part = String(last[last.index(after: point)...])
        return Self.refused.contains { $0.hasPrefix(part) && $0 != part }
    }

    /// `memcmp = mine`, and `memcmp == mine`, which is gas's `.eqv`, with a comment before the sign or none; a constraint begins with its
    /// `=`: https://sourceware.org/binutils/docs/as/Setting-Symbols.html
    var assigns: Bool {
        let words = Array(text.filter { !$0.isWhitespace || $0.isNewline })
        return words.indices.contains { index in
            words[index] == "=" && index > 0
                && (words[index - 1].isLetter || words[index - 1].isNumber || "_.$\"".contains(words[index - 1])
                    || words[..<index].suffix(2).elementsEqual("*/"))
        }
    }

    /// `.inc%P0`, `$__start_%P1`, `%P0 name, value`, `%P[f] = mine`: what comes of it no rule can read. (`%=` makes a number.)
    var spellsByOperands: Bool {
        let isOfName = { (character: Character) in character.isLetter || character.isNumber || "_.".contains(character) }
        let all = Array(text)
        var index = 0
        while index < all.count {
            guard all[index] == "%", index + 1 < all.count else {
                index += 1
                continue
            }
            var end = index + 1
            if all[end] == "%" {
                index += 2
                continue
            }
            // `%r15` is a register, where there are no operands.
            if all[end].isLetter && all[end] != "r" { end += 1 }
            let first = end
            if end < all.count, all[end] == "[" {
                end = all[end...].firstIndex(of: "]").map { $0 + 1 } ?? all.count
            } else {
                while end < all.count, all[end].isNumber { end += 1 }
            }
            guard end > first else {
                index += 1
                continue
            }
            let before = all[..<index].last { $0 != "$" },
                touches =
                    index > 0 && before.map(isOfName) == true
                    && (isOfName(all[index - 1]) || all[index - 1] == "$" && index > 1 && isOfName(all[index - 2]))
            if touches || (end < all.count && isOfName(all[end])) { return true }
            // What a statement begins with is its name; in a text that begins so, it may be a later part of one.
            let start = all[..<index].last { $0 == "\n" || !$0.isWhitespace },
                next = all[end...].first { $0 != " " && $0 != "\t" }
            if start == "\n" || start == ";" || start == nil && index == 0 && end < all.count && all[end] != ",",
                let next, isOfName(next) || "=\"".contains(next)
            {
                return true
            }
            index = end
        }
        return false
    }
}
