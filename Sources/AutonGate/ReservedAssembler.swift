/// What a file for nasm has of the harness's.
enum ReservedAssembler {
    static func found(in source: AssemblerSource) -> [Finding] { source.lines.flatMap(found) }

    private static func found(in line: [Token]) -> [Finding] {
        var found: [Finding] = []
        func add(_ what: String, _ word: Token) { found.append(Finding(what: what, line: word.line)) }
        let isDirective = line.first?.isPunctuator("%") == true
        let mnemonic = line.first { $0.kind == .identifier }?.text.lowercased() ?? ""
        if mnemonic == "incbin" { add("lets the assembler read a file: \(line.spelling)", line[0]) }
        if mnemonic == "include" && isDirective {
            let path = line.last?.text ?? ""
            if path.hasPrefix("/") || path.split(separator: "/").contains("..") || path.contains("harness") {
                add("includes what is no file of the kernel's own: \(path)", line[0])
            }
        }
        let isDefinition =
            isDirective && ["define", "xdefine", "idefine", "ixdefine", "macro", "imacro", "undef", "assign"].contains(mnemonic)
        var beside: [String] = []
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
                } else if let words = HarnessNames.words.first(where: word.text.contains) {
                    add("has words that are the harness's: \"\(words)\"", word)
                }
                beside = []
            default:
                if ![",", "%+", "%", "[", "]", "(", ")"].contains(word.text) { beside = [] }
            }
        }
        return found
    }
}
