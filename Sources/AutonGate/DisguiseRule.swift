import AutonKit

/// Code is what it looks like, so that reviewers and the other rules read what the compiler reads: no trigraphs, no raw
/// strings, no keyword with another meaning, nothing included that is no header, no character that a terminal or an
/// editor would show otherwise.
package struct DisguiseRule: DiffRule {
    package static let name = "disguise"

    private static let keywords: Set<String> = [
        "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for",
        "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
        "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "_Bool", "_Generic", "_Noreturn", "_Static_assert",
        "bool", "true", "false", "asm", "__asm__", "__attribute__", "__FILE__", "__LINE__", "uint8_t", "uint16_t", "uint32_t",
        "uint64_t", "size_t",
    ]

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted && !Workspace.isProtected($0.path) }.flatMap { file in
            (SourceFindings.new(in: file, c: Self.found, Self.found) + Self.unseen(in: file)).map { "\(file.path): \($0)" }
        }
    }

    private static func found(in source: CSource) -> [Finding] {
        source.disguises.map { Finding(what: $0.what, line: $0.line) } + source.directives.flatMap(found)
    }

    private static func found(in directive: CSource.Directive) -> [Finding] {
        let what: String? =
            switch directive.name {
            case "define", "undef":
                directive.words.first.flatMap { keywords.contains($0.text) ? "gives another meaning to \($0.text)" : nil }
            case "include_next", "import": "#\(directive.name)"
            case "include": included(directive.words)
            case "pragma":
                directive.words.first.flatMap {
                    ["redefine_extname", "weak", "push_macro", "pop_macro", "poison"].contains($0.text)
                        ? "#pragma \($0.text)" : nil
                }
            default: nil
            }
        return what.map { [Finding(what: $0, line: directive.line)] } ?? []
    }

    private static func included(_ words: [Token]) -> String? {
        let isPath = words.first?.kind == .string && words.count == 1 || words.first?.text == "<"
        guard isPath else { return "includes what a macro says" }
        let path = words.filter { $0.text != "<" && $0.text != ">" }.map(\.text).joined()
        if path.hasPrefix("/") { return "includes a file from outside: \(path)" }
        return path.hasSuffix(".h") || path.hasSuffix(".def") ? nil : "includes what is no header: \(path)"
    }

    private static func found(in source: AssemblerSource) -> [Finding] {
        let deep = source.tooDeep.map { Finding(what: "brackets nested deeper than \(CSource.deepest)", line: $0) }
        return deep
            + source.lines.compactMap { line in
                guard line.count > 2, line[0].isPunctuator("%"), line[1].text.lowercased().hasSuffix("macro") else { return nil }
                let isInstruction = ["mov", "call", "jmp", "in", "out", "global", "extern", "section"].contains(
                    line[2].text.lowercased())
                return isInstruction ? Finding(what: "gives another meaning to \(line[2].text)", line: line[2].line) : nil
            }
    }

    /// Characters that are not shown, or that change the order in which others are shown.
    private static func unseen(in file: ChangedFile) -> [String] {
        file.hunks.flatMap { hunk in
            hunk.added.enumerated().compactMap { index, line in
                guard let scalar = line.unicodeScalars.first(where: isUnseen) else { return nil }
                return
                    "a character that is not shown, U+\(String(scalar.value, radix: 16, uppercase: true)) (line \(hunk.newStart + index))"
            }
        }
    }

    private static func isUnseen(_ scalar: UnicodeScalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x0c, 0x0d, 0x20...0x7e: false
        case 0...0x1f, 0x7f: scalar.value != 0
        default: scalar.properties.generalCategory == .format || scalar.properties.generalCategory == .control
        }
    }
}
