/// What a C file has of the harness's.
struct ReservedC {
    private(set) var found: [Finding] = []
    private let isTest: Bool
    /// The file's macros that hand what they are called with to the assembler.
    private let assembling: Set<String>
    /// The file's own `static` functions and variables.
    private let own: Set<String>

    init(_ source: CSource, path: String) {
        isTest = path.hasPrefix("tests/")
        assembling = Self.assembling(source)
        let leftOut = source.leftOut
        let isThere = { (unit: CUnit) in !unit.words.contains(where: leftOut.contains) }
        own = Set(source.units.filter { source.isStatic($0) && isThere($0) }.map(\.name)).subtracting(HarnessNames.tables)
        for unit in source.units where unit.kind == .function { defined(unit, source) }
        for directive in source.directives { look(at: directive) }
        for (number, piece) in source.pieces.enumerated() { look(at: piece, isCode: number == 0) }
        for kind in [Token.Kind.identifier, .string] { lookAtParts(of: source, kind) }
    }

    private mutating func lookAtParts(of source: CSource, _ kind: Token.Kind) {
        let words = source.pieces.flatMap { $0 }.filter { $0.kind == kind && !own.contains($0.text) }
        guard let parts = HarnessNames.parts(in: Set(words.map(\.text))) else { return }
        if let last = words.first(where: { $0.text == parts.last }) {
            add("has the parts of a name of the harness's: \(parts.joined(separator: ", "))", last)
        }
    }

    /// `#define READ(code) ({ … __asm__ volatile(code : …) … })`, and those that call such a one with a word of theirs.
    private static func assembling(_ source: CSource) -> Set<String> {
        // Who calls a macro with a word of theirs, by its name.
        var callers: [String: [String]] = [:], waiting: [String] = []
        for macro in source.macros {
            guard macro.words.count > 1, macro.words[1].isPunctuator("("), macro.words[1].isTight else { continue }
            let name = macro.words[0].text, words = macro.words.dropFirst(2)
            for open in words.indices.dropFirst() where words[open].isPunctuator("(") {
                let between = words[..<open].suffix(3).reversed().prefix { !$0.isAsm }
                let isAssembly =
                    between.count < min(3, open - words.startIndex) && between.allSatisfy { qualifiers.contains($0.text) }
                if isAssembly && handsOn(words[(open + 1)...], upToColon: true) { waiting.append(name) }
                if handsOn(words[(open + 1)...], upToColon: false) { callers[words[open - 1].text, default: []].append(name) }
            }
        }
        var found: Set<String> = []
        while let name = waiting.popLast() {
            if found.insert(name).inserted { waiting += callers[name] ?? [] }
        }
        return found
    }

    /// Whether what stands in a parenthesis, which these words begin behind, is more than a string.
    ///
    /// - Parameter upToColon: or what stands before the assembler's operands.
    private static func handsOn(_ words: ArraySlice<Token>, upToColon: Bool) -> Bool {
        guard let word = words.first(where: { $0.kind != .string }) else { return false }
        return !word.isPunctuator(")") && !(upToColon && word.isPunctuator(":"))
    }

    private static let qualifiers: Set<String> = ["volatile", "__volatile__", "__volatile", "goto", "inline", "__inline__"]

    private mutating func defined(_ unit: CUnit, _ source: CSource) {
        guard HarnessNames.functions.union(HarnessNames.ofAssertions).union(HarnessNames.macros).contains(unit.name) else {
            return
        }
        found.append(Finding(what: "defines the harness's \(unit.name)", line: unit.lines.lowerBound))
    }

    private mutating func look(at directive: CSource.Directive) {
        let first = directive.words.first
        switch directive.name {
        case "define", "undef":
            if let first, HarnessNames.isReserved(first.text) { add("redefines \(first.text) of the harness", first) }
        case "if", "ifdef", "ifndef", "elif", "elifdef", "elifndef":
            for word in directive.words {
                if HarnessNames.macrosOfHeaders.contains(word.text) { add("asks who includes it: \(word.text)", word) }
                if HarnessNames.isReserved(word.text) { add("asks whether \(word.text) of the harness is there", word) }
                if HarnessNames.placesOfCompilation.contains(word.text) || HarnessNames.isOfCompilersHeaders(word.text) {
                    add("asks who includes it: \(word.text)", word)
                }
                // What is built anew after a change would depend on what was built before.
                if word.text.hasPrefix("__has_include") { add("asks which files there are: \(word.text)", word) }
            }
        case "include", "include_next", "import":
            // What it includes is a path, not words.
            let path = directive.words.map(\.text).joined()
            let parts = path.split(separator: "/")
            if parts.last.map({ $0.hasPrefix("internal.h") }) == true
                || parts.dropLast().contains(where: { ["harness", "acceptance"].contains($0) })
            {
                if let first { add("includes what is private to the harness: \(path)", first) }
            }
        case "pragma":
            for word in directive.words where HarnessNames.isReserved(word.text) {
                add("names \(word.text) of the harness", word)
            }
        default: break
        }
    }

    /// - Parameter isCode: whether they are no directive's: a function's name is its own there, in a macro that of any function.
    private mutating func look(at words: [Token], isCode: Bool) {
        var assembly = 0, depth = 0
        var braces: [Bool] = []
        var beside: [String] = []
        for (index, word) in words.enumerated() {
            switch word.kind {
            case .punctuator:
                if word.text == "(" {
                    depth += 1
                    if index > 0, assembly == 0, Self.takesAssembly(words[..<index]) || assembling.contains(words[index - 1].text)
                    {
                        assembly = depth
                    }
                } else if word.text == ")" {
                    if assembly == depth { assembly = 0 }
                    depth -= 1
                }
                if word.text == "{" { braces.append(Self.isStructure(words[..<index])) }
                if word.text == "}" { _ = braces.popLast() }
                if ![",", "##", "(", ")"].contains(word.text) { beside = [] }
            case .identifier:
                let next = words.indices.contains(index + 1) ? words[index + 1] : nil
                let isMember =
                    braces.last == true && depth == 0 && next.map { [";", ",", "[", ":"].contains($0.text) } ?? false
                if assembly > 0, ["section", "__section__"].contains(word.text), next?.isPunctuator("(") == true,
                    words.indices.contains(index + 2), words[index + 2].kind != .string
                {
                    add("has a section that a macro names: \(words[index + 2].text)", word)
                }
                if let before = words.indices.contains(index - 1) ? words[index - 1] : nil, before.isPunctuator("."),
                    Self.beginsDirective(word, previous: words.indices.contains(index - 2) ? words[index - 2] : nil, next: next)
                {
                    add("has .\(word.text) as a word, of which a macro could make the assembler's", word)
                }
                if !isMember, !isCode || !HarnessNames.namesOfFunction.contains(word.text) {
                    look(at: word, previous: index > 0 ? words[index - 1] : nil, next: next)
                }
                beside = beside.suffix(3) + [word.text]
                joined(beside, word)
            case .string:
                look(at: word, isAssembly: assembly > 0)
                if assembly > 0, words.indices.contains(index + 1), words[index + 1].kind == .identifier,
                    AssemblyString(text: word.text).endsInPart
                {
                    add("has a macro go on with a word of the assembler's: \"\(shown(word.text))\"", word)
                }
                beside = []
            case .number, .character: beside = []
            }
        }
    }

    /// `TEXT(.incbin)`, or a part of that; no member, and no designator: `{ .set = 1 }`.
    private static func beginsDirective(_ word: Token, previous: Token?, next: Token?) -> Bool {
        let isOfObject =
            previous.map { [.identifier, .string, .number].contains($0.kind) || [")", "]", "."].contains($0.text) } ?? true
        let isDesignator = next.map { ["=", "[", "."].contains($0.text) } ?? false
        return !isOfObject && !isDesignator && AssemblyString.refused.contains { $0.hasPrefix(word.text) }
    }

    /// Whether these words end in the head of a structure's members.
    private static func isStructure(_ words: ArraySlice<Token>) -> Bool {
        words.suffix(2).contains { $0.isIdentifier("struct") || $0.isIdentifier("union") }
    }

    /// Whether these words end in what makes the string in the next parenthesis a name or code for the assembler.
    private static func takesAssembly(_ words: ArraySlice<Token>) -> Bool {
        words.suffix(3).contains { $0.isAsm || $0.isAttribute || $0.isIdentifier("_Pragma") }
    }

    private mutating func look(at word: Token, previous: Token?, next: Token?) {
        let name = word.text
        // A member of a structure is no symbol.
        if previous?.isPunctuator(".") == true || previous?.isPunctuator("->") == true { return }
        if next?.isPunctuator("##") == true && HarnessNames.beginsPrivate(name) {
            return add("joins \(name) to what may be a name of the harness", word)
        }
        let isPrivate = HarnessNames.isPrivate(name) || (next?.isPunctuator("(") == true && HarnessNames.looksPrivate(name))
        if isPrivate && !own.contains(name) {
            add(
                "\(HarnessNames.tables.contains(name) ? "touches the harness's tables" : "uses what is private to the harness"): \(name)",
                word)
        } else if !isTest && !HarnessNames.functions.contains(name) && !own.contains(name)
            && HarnessNames.ofTestsPrefixes.contains(where: name.hasPrefix) && !HarnessNames.ofAssertions.contains(name)
        {
            add("names a test: \(name)", word)
        } else if HarnessNames.ofAssertions.contains(name) && !isTest {
            add("calls what the harness's assertions call: \(name)", word)
        } else if HarnessNames.placesOfCompilation.contains(name), !isTest || !HarnessNames.placesOfTests.contains(name) {
            add("asks who includes it: \(name)", word)
        } else if HarnessNames.entries.contains(name), previous?.isIdentifier("struct") == true {
            add("makes an entry for the harness's tables by hand: struct \(name)", word)
        }
    }

    private mutating func look(at string: Token, isAssembly: Bool) {
        let text = string.text, assembly = AssemblyString(text: text)
        let directive = assembly.directives.first(where: AssemblyString.refused.contains)
        if let section = HarnessNames.sections.first(where: text.contains),
            isAssembly || text == section || text.hasPrefix(".auton.")
        {
            add("touches the harness's tables: \"\(shown(text))\"", string)
        } else if isAssembly, let section = HarnessNames.sectionsOfLinker.first(where: text.contains) {
            add("names a section that is the linker's: \(section)", string)
        } else if let word = HarnessNames.words.first(where: text.contains) {
            add("has words that are the harness's: \"\(word)\"", string)
        } else if isAssembly {
            for name in assembly.names where HarnessNames.isReserved(name) && !own.contains(name) {
                add("names \(name) of the harness in assembly", string)
            }
            if let directive {
                add("has the assembler read files, or make code of its own, by .\(directive): \"\(shown(text))\"", string)
            } else if text.contains("\\") {
                add("has a backslash for the assembler: \"\(shown(text))\"", string)
            } else if assembly.hasDialects {
                add("writes for several assemblers: \"\(shown(text))\"", string)
            } else if assembly.spellsByOperands {
                add("makes a name, or an instruction, of an operand: \"\(shown(text))\"", string)
            } else if assembly.assigns {
                add("gives a symbol another meaning in assembly: \"\(shown(text))\"", string)
            }
        } else if text.lowercased().contains(".incbin") {
            // For a macro to hand to asm.
            add("has .incbin as a string: \"\(shown(text))\"", string)
        } else if HarnessNames.isPrivate(text) || HarnessNames.ofAssertions.contains(text) {
            // A name alone in a string is for a macro to make an assembly name of.
            add("has \(text) of the harness as a string", string)
        } else if let directive, text.contains("." + directive + " ") {
            add("has .\(directive) as a string, which a macro could hand to the assembler: \"\(shown(text))\"", string)
        } else if !isTest, HarnessNames.ofTestsPrefixes.contains(where: text.contains) {
            add("asks for tests by their names: \"\(shown(text))\"", string)
        }
    }

    private mutating func joined(_ beside: [String], _ word: Token) {
        guard beside.count > 1 else { return }
        for start in 0..<(beside.count - 1) {
            if let name = HarnessNames.pasted(beside[start...]), name.hasSuffix(word.text), !own.contains(name) {
                add("joins words to \(name) of the harness", word)
            }
        }
    }

    private mutating func add(_ what: String, _ word: Token) { found.append(Finding(what: what, line: word.line)) }

    private func shown(_ text: String) -> String { Text.lines(text).first.map { String($0.prefix(60)) } ?? "" }
}
