import AutonKit

/// Code is what it looks like, so that reviewers and the other rules read what the compiler reads: no trigraphs, no raw
/// strings, no keyword with another meaning, no pragma, nothing included that is no header, no letters but ASCII's outside of
/// comments and strings, no character that a terminal or an editor would show otherwise.
package struct DisguiseRule: DiffRule {
    package static let name = "disguise"

    /// Words that no macro is.
    static let keywords: Set<String> = [
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for",
        "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
        "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "_Bool", "_Generic", "_Noreturn", "_Static_assert",
        "bool", "true", "false", "asm", "__asm", "__asm__", "__attribute__", "__volatile__", "typeof", "__typeof__", "_Alignof",
        "__FILE__", "__LINE__", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "size_t",
    ]

    package init() {}

    package func violations(in change: Change) -> [String] {
        let headers = change.files.filter { Change.isHeader($0.path) }
        let functions = Set(headers.compactMap(\.newC).flatMap(Self.functions))
        return change.files.filter { $0.status != .deleted && !Workspace.isProtected($0.path) }.flatMap { file in
            let found = {
                Self.found(in: $0)
                    + (Change.isHeader(file.path)
                        ? Self.macros(of: functions, in: $0) + Self.promises(in: $0)
                            + Self.taken(change, by: $0) + HeaderMeaning.found(in: $0) : [])
            }
            return (SourceFindings.new(in: file, c: found, Self.found) + Self.unseen(in: file).prefix(SourceFindings.most)).map {
                "\(file.path): \($0)"
            }
        }
    }

    /// What a header declares as a function.
    private static func functions(in source: CSource) -> [String] {
        source.units.filter { unit in
            zip(source.tokens[unit.words], source.tokens[unit.words].dropFirst()).contains {
                $0.text == unit.name && $1.isPunctuator("(")
            }
                // A macro that is called where declarations stand begins them.
                && source.tokens[unit.words].first?.text != unit.name
        }.map(\.name)
    }

    /// Tests that call such a function would call something else.
    private static func macros(of functions: Set<String>, in source: CSource) -> [Finding] {
        let undefined = undefined(in: source)
        return source.macros.compactMap(\.words.first).filter {
            functions.contains($0.text) && !undefined.contains($0.text)
        }.map {
            Finding(what: "gives another meaning to \($0.text), which is a function", line: $0.line)
        }
    }

    /// Macros that are gone again at the header's end: `#undef X` comes last.
    private static func undefined(in source: CSource) -> Set<String> {
        var found: Set<String> = []
        for directive in source.directives {
            guard let name = directive.words.first?.text else { continue }
            if directive.name == "undef" { found.insert(name) } else if directive.name == "define" { found.remove(name) }
        }
        return found
    }

    /// What tests have by that name is no macro, or they would not have been built. What they call could be emptied by one, or be declared
    /// by it as something else. Any other word that stands for the same wherever it is could not be declared there: it takes one that
    /// goes by the line, by what it is called with, or by itself.
    private static func taken(_ change: Change, by source: CSource) -> [Finding] {
        let undefined = undefined(in: source)
        return source.macros.compactMap { macro in
            guard let name = macro.words.first, let place = change.wordsOfTests[name.text], !undefined.contains(name.text),
                change.callsOfTests.contains(name.text)
                    || macro.words.dropFirst().contains(where: { [name.text, "__LINE__", "##"].contains($0.text) })
            else { return nil }
            return Finding(what: "gives another meaning to \(name.text), which \(place) has", line: name.line)
        }
    }

    /// What a compiler believes, so that it leaves out what a test asks.
    private static let promises: Set<String> = [
        "assume_aligned", "__assume_aligned__", "alloc_align", "__alloc_align__", "returns_nonnull", "__returns_nonnull__",
        "__builtin_unreachable", "__builtin_assume_aligned", "__builtin_assume",
    ]

    private static func promises(in source: CSource) -> [Finding] {
        source.pieces.flatMap { $0 }.filter { promises.contains($0.text) && $0.kind == .identifier }.map {
            Finding(what: "promises the compiler what tests are to find out: \($0.text)", line: $0.line)
        }
    }

    private static func found(in source: CSource) -> [Finding] {
        source.disguises.map { Finding(what: $0.what, line: $0.line) } + source.directives.flatMap(found)
            + CompilerNames.refused(in: source).map {
                Finding(what: "a name of the compiler's, or a part of one: \($0.text)", line: $0.line)
            }
            + source.pieces.flatMap { $0.compactMap(found) }
    }

    private static func found(in word: Token) -> Finding? {
        if word.isIdentifier("_Pragma") || word.isIdentifier("__pragma") { return Finding(what: word.text, line: word.line) }
        if word.kind == .identifier && word.text.utf8.count > Change.longestWord {
            return Finding(what: "a word of more than \(Change.longestWord) letters", line: word.line)
        }
        // What is inlined is another function than the one of that name, which others call.
        if ["gnu_inline", "__gnu_inline__"].contains(word.text) { return Finding(what: word.text, line: word.line) }
        // Another file's function of that name would take its place, a test's that of the kernel.
        if ["weak", "__weak__"].contains(word.text) && word.kind == .identifier {
            return Finding(what: word.text, line: word.line)
        }
        // Outside of strings a backslash begins nothing but such a name.
        if word.isPunctuator("\\") { return Finding(what: "a universal character name", line: word.line) }
        return foreign(word)
    }

    /// In code letters that only look like others, in strings what is not shown.
    private static func foreign(_ word: Token) -> Finding? {
        let text = word.written ?? word.text
        if word.kind == .string || word.kind == .character {
            return text.unicodeScalars.first(where: isFormat).map { Finding(what: unseen($0), line: word.line) }
        }
        // What is not shown is found on its line, comments included.
        if text.utf8.allSatisfy({ $0 < 0x80 }) || text.unicodeScalars.contains(where: isUnseen) { return nil }
        return Finding(what: "a letter that is not ASCII: \(Text.lines(text).first ?? "")", line: word.line)
    }

    private static func found(in directive: CSource.Directive) -> [Finding] {
        let what: String? =
            switch directive.name {
            case "define", "undef":
                meaning(directive.words)
            case "include_next", "import": "#\(directive.name)"
            case "include": included(directive.words)
            case "pragma": pragma(directive.words)
            case "line": "#line"
            // What a preprocessor leaves for a compiler.
            case let name where name.utf8.first.map(CLexer.isDigit) ?? false: "#line"
            default: nil
            }
        return what.map { [Finding(what: $0, line: directive.line)] } ?? []
    }

    private static func meaning(_ words: [Token]) -> String? {
        guard let name = words.first else { return nil }
        if keywords.contains(name.text) || HarnessNames.isOfCompilersHeaders(name.text) {
            return "gives another meaning to \(name.text)"
        }
        // Rules look for what stands behind these words.
        let qualifiers = ["volatile", "__volatile", "__volatile__", "goto", "inline"]
        guard let last = words.dropFirst().last(where: { !qualifiers.contains($0.text) }), last.isAsm || last.isAttribute else {
            return nil
        }
        return "gives another name to \(last.text)"
    }

    /// They switch warnings off, rename functions, have one function compiled otherwise than the rest.
    private static func pragma(_ words: [Token]) -> String? {
        if words.map(\.text) == ["once"] || (words.first?.text == "pack" && words.dropFirst().first?.text == "(") { return nil }
        return "#pragma \(words.prefix(3).spelling)"
    }

    private static func included(_ words: [Token]) -> String? {
        let isPath = words.first?.kind == .string && words.count == 1 || words.first?.text == "<"
        guard isPath else { return "includes what a macro says" }
        let path = words.filter { $0.text != "<" && $0.text != ">" }.map(\.text).joined()
        // From any place where the compiler looks.
        let leaves = path.split(separator: "/").count { $0 == ".." } > 1
        if path.hasPrefix("/") || leaves { return "includes a file from outside: \(path)" }
        return path.hasSuffix(".h") || path.hasSuffix(".def") ? nil : "includes what is no header: \(path)"
    }

    private static func found(in source: AssemblerSource) -> [Finding] {
        let deep = source.tooDeep.map { Finding(what: "brackets nested deeper than \(CSource.deepest)", line: $0) }
        return deep + source.lines.flatMap { line in line.compactMap(foreign) + (found(in: line).map { [$0] } ?? []) }
    }

    private static func found(in line: [Token]) -> Finding? {
        if let word = line.first(where: { $0.kind == .identifier && $0.text.lowercased() == "weak" }) {
            return Finding(what: word.text, line: word.line)
        }
        let words = line.prefix(3).map { $0.text.lowercased() }
        guard words.count > 1 else { return nil }
        if words[0] == "%" && ["pragma", "line", "comment"].contains(words[1]) {
            return Finding(what: "%\(words[1])", line: line[0].line)
        }
        if let word = joint(in: line, first: words[0]) ?? fileReader(in: line) {
            return Finding(what: "makes a name of parts: \(line.quoted)", line: word.line)
        }
        for (bracket, word) in zip(line, line.dropFirst()) where bracket.isPunctuator("[") && word.text.lowercased() == "warning"
        {
            return Finding(what: "[warning", line: word.line)
        }
        guard words.count > 2, words[0] == "%", words[1].hasSuffix("macro") else { return nil }
        let isInstruction = ["mov", "call", "jmp", "in", "out", "global", "extern", "section"].contains(words[2])
        return isInstruction ? Finding(what: "gives another meaning to \(line[2].text)", line: line[2].line) : nil
    }

    /// `inc%[B]`, `__start_%[S]`, `a %+ b`: what comes of it no rule reads. Parts of local labels, which are nobody else's, may be so: `.v%[v]`.
    private static func joint(in line: [Token], first: String) -> Token? {
        if let joint = line.first(where: { $0.isPunctuator("%+") }) { return joint }
        let takesNames = first == "%" || ["section", "segment", "global", "extern", "common", "static"].contains(first)
        for (index, word) in line.enumerated()
        where word.isPunctuator("%") && line.dropFirst(index + 1).first?.isPunctuator("[") == true {
            let before = index > 0 ? line[index - 1].text : ""
            if takesNames || !before.contains(".") { return word }
        }
        return nil
    }

    /// `%1bin`, where a macro is called with `inc`.
    private static func fileReader(in line: [Token]) -> Token? {
        zip(line, line.dropFirst()).first { sign, word in
            let rest = word.text.lowercased().drop { $0.isNumber }
            return sign.isPunctuator("%") && rest.count < word.text.count && !rest.isEmpty && "incbin".hasSuffix(rest)
        }?.1
            ?? zip(line, line.dropFirst()).first { word, sign in
                sign.isPunctuator("%") && sign.isTight && word.kind == .identifier && "incbin".hasPrefix(word.text.lowercased())
            }?.0
    }

    /// Characters that are not shown, or that change the order in which others are shown.
    private static func unseen(in file: ChangedFile) -> [String] {
        file.hunks.flatMap { hunk in
            hunk.added.enumerated().compactMap { index, line in
                let isFirst = hunk.newStart + index == 1
                let isReturn = { (scalar: UnicodeScalar?) in scalar?.value == 0x0d }
                let scalars = line.unicodeScalars.drop { isFirst && $0.value == 0xfeff }
                    .dropLast(isReturn(line.unicodeScalars.last) ? 1 : 0)
                return scalars.first(where: isUnseen).map { "\(unseen($0)) (line \(hunk.newStart + index))" }
            }
        }
    }

    private static func unseen(_ scalar: UnicodeScalar) -> String {
        "a character that is not shown, U+\(String(scalar.value, radix: 16, uppercase: true))"
    }

    private static func isFormat(_ scalar: UnicodeScalar) -> Bool { scalar.properties.generalCategory == .format }

    private static func isUnseen(_ scalar: UnicodeScalar) -> Bool {
        switch scalar.value {
        // A line ends at a lone U+D for compilers, for others it goes on.
        case 0x09, 0x20...0x7e: false
        case 0...0x1f, 0x7f: scalar.value != 0
        // Where a word may be broken, and what joins letters: people's languages have them. In code they are foreign.
        case 0xad, 0x200c, 0x200d: false
        default: [.format, .control, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
        }
    }
}
