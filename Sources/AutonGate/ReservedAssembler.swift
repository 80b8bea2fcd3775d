/// What a file for nasm has of the harness's.
enum ReservedAssembler {
    static func found(in source: AssemblerSource) -> [Finding] { source.lines.flatMap(found) }

    private static func found(in line: [Token]) -> [Finding] {
        var found: [Finding] = []
        func add(_ what: String, _ word: Token) { found.append(Finding(what: what, line: word.line)) }
        let isDirective = line.first?.isPunctuator("%") == true
        let mnemonic = line.first { $0.kind == .identifier }?.text.lowercased() ?? ""
        if isDirective && ["include", "depend"].contains(mnemonic) {
            let path = line.last?.text ?? ""
            if line.last?.kind != .string || line.count != 3 {
                add("includes what a macro says", line[0])
            } else if path.hasPrefix("/") || path.split(separator: "/").contains("..") || path.contains("harness") {
                add("includes what is no file of the kernel's own: \(path)", line[0])
            } else if SourceLanguage(path: path) != .assembler {
                // No rule would read it.
                add("includes what is no source for nasm: \(path)", line[0])
            }
        }
        let isMap = { (bracket: Token, word: Token) in bracket.isPunctuator("[") && word.text.lowercased() == "map" }
        if let (_, word) = zip(line, line.dropFirst()).first(where: isMap) {
            add("lets the assembler write a file: \(line.quoted)", word)
        }
        // It makes words of a string, which itself could be made of others.
        if isDirective && ["deftok", "ideftok"].contains(mnemonic) || hasTok(line) { add("makes words of a string", line[0]) }
        if ["section", "segment"].contains(mnemonic),
            let word = line.first(where: { HarnessNames.sectionsOfLinker.contains($0.text) })
        {
            add("names a section that is the linker's: \(word.text)", word)
        }
        for text in data(line) { look(at: text, &found) }
        let isDefinition =
            isDirective && ["define", "xdefine", "idefine", "ixdefine", "macro", "imacro", "undef", "assign"].contains(mnemonic)
        var beside: [String] = [], readsFile = false
        for (index, word) in line.enumerated() {
            switch word.kind {
            case .identifier, .number:
                let name = word.text
                let isGlobal = ["global", "static", "common"].contains(mnemonic)
                let isLabel = index == 0 && (line.count == 1 || line[1].isPunctuator(":"))
                if HarnessNames.isPrivate(name) || HarnessNames.ofAssertions.contains(name) {
                    add(
                        "\(HarnessNames.tables.contains(name) ? "touches the harness's tables" : "uses what is private to the harness"): \(name)",
                        word)
                } else if HarnessNames.functions.contains(name) && (isGlobal || isLabel || isDefinition) {
                    add("defines the harness's \(name)", word)
                } else if HarnessNames.sections.contains(where: name.contains) {
                    add("touches the harness's tables: \(name)", word)
                }
                beside = beside.suffix(3) + [name]
                // Wherever it stands, behind a label or in a macro, whole or as parts that one could join.
                if !readsFile, beside.indices.contains(where: { beside[$0...].joined().lowercased() == "incbin" }) {
                    add("lets the assembler read a file: \(line.quoted)", word)
                    readsFile = true
                }
                for start in 0..<max(0, beside.count - 1) {
                    if let joined = HarnessNames.pasted(beside[start...]), joined.hasSuffix(name) {
                        add("joins words to \(joined) of the harness", word)
                    }
                }
            case .string:
                if HarnessNames.isPrivate(word.text) || HarnessNames.sections.contains(where: word.text.contains)
                    || HarnessNames.ofAssertions.contains(word.text)
                {
                    add("has \(word.text) of the harness as a string", word)
                } else if word.text.lowercased().contains("incbin") {
                    add("has incbin as a string, of which a macro could make a word", word)
                }
                beside = []
            default:
                if ![",", "%+", "%", "[", "]", "(", ")"].contains(word.text) { beside = [] }
            }
        }
        return found
    }

    /// Whether it calls nasm's function `%tok`, which `%{tok}` is too.
    private static func hasTok(_ line: [Token]) -> Bool {
        let words = line.filter { !$0.isPunctuator("{") }
        return zip(words, words.dropFirst()).contains { $0.isPunctuator("%") && $1.text.lowercased() == "tok" }
    }

    /// The text that stands together in what the line lays down: `db "KTAP ", 'version', 0x20`.
    private static func data(_ line: [Token]) -> [Token] {
        var texts: [Token] = []
        var isNext = false
        for word in line where !word.isPunctuator(",") {
            let character =
                word.kind == .number ? Numeral.nasm(word.text).flatMap(UInt8.init(exactly:)).map(UnicodeScalar.init) : nil
            guard let text = word.kind == .string ? word.text : character.map({ String(Character($0)) }) else {
                isNext = false
                continue
            }
            if isNext {
                texts[texts.count - 1].text += text
            } else {
                texts.append(Token(kind: .string, text: text, line: word.line))
            }
            isNext = true
        }
        return texts
    }

    private static func look(at text: Token, _ found: inout [Finding]) {
        guard let words = HarnessNames.words.first(where: text.text.contains) else { return }
        found.append(Finding(what: "has words that are the harness's: \"\(words)\"", line: text.line))
    }
}
