/// What has a header mean one thing to a test and another to what it tests, or a word of it end the test that has it.
enum HeaderMeaning {
    static func found(in source: CSource) -> [Finding] { conditions(in: source) + leaving(in: source) + returning(in: source) }

    /// Conditions on what is defined elsewhere: `#ifdef STRING_OWN`. The guard, what the header itself has defined before, and what is the
    /// compiler's are the same for all.
    private static func conditions(in source: CSource) -> [Finding] {
        var defined: Set<String> = ["defined"], found: [Finding] = []
        for (index, directive) in source.directives.enumerated() {
            switch directive.name {
            case "define": if let name = directive.words.first { defined.insert(name.text) }
            case "if", "ifdef", "ifndef", "elif", "elifdef", "elifndef":
                let next = source.directives.dropFirst(index + 1).first
                let guarded = index == 0 && directive.name == "ifndef" && next?.name == "define" ? next?.words.first?.text : nil
                for word in directive.words
                where word.kind == .identifier && word.text != guarded && !word.text.hasPrefix("__")
                    && !defined.contains(word.text)
                {
                    found.append(Finding(what: "is another header where \(word.text) is defined", line: word.line))
                }
            default: break
            }
        }
        return found
    }

    /// `#define EINVAL ({ return; 22; })`. A loop may be left by what it is made of.
    private static func leaving(in source: CSource) -> [Finding] {
        source.macros.compactMap { macro in
            let words = macro.words.dropFirst().filter { $0.kind == .identifier }.map(\.text)
            let isLoop = words.contains { ["for", "while", "do", "switch"].contains($0) }
            let leaves = ["return", "goto"] + (isLoop ? [] : ["break", "continue"])
            return words.first(where: leaves.contains).map {
                Finding(what: "a macro that leaves whoever has it: \(macro.words.first?.text ?? "") (\($0))", line: macro.line)
            }
        }
    }

    private static let returns: Set<String> = [
        "ret", "retq", "retn", "retw", "leave", "leaveq", "lret", "lretq", "iret", "iretq",
    ]

    /// What is inlined returns for whoever it is inlined into.
    private static func returning(in source: CSource) -> [Finding] {
        source.pieces.flatMap { words in
            words.indices.dropFirst().compactMap { index in
                let word = words[index]
                guard word.kind == .string, words[..<index].suffix(4).contains(where: \.isAsm),
                    let name = AssemblyString(text: word.text).names.first(where: { returns.contains($0.lowercased()) })
                else { return nil }
                return Finding(what: "assembly that returns, in a header: \(name)", line: word.line)
            }
        }
    }
}
