/// A word of a source file, comments and white space left out.
struct Token: Sendable, Equatable {
    enum Kind: Sendable { case identifier, number, string, character, punctuator }

    var kind: Kind
    /// As written; of a string or character what it stands for, strings side by side joined.
    var text: String
    /// Counted from 1.
    var line: Int
    /// A string or character as C has it written, quotes and prefix included: "\xff" and "ÿ" are different bytes.
    var written: String?
    /// Whether nothing stands between it and the word before it: `F(x)` defines another macro than `F (x)`.
    var isTight = false

    func isPunctuator(_ text: String) -> Bool { kind == .punctuator && self.text == text }
    func isIdentifier(_ text: String) -> Bool { kind == .identifier && self.text == text }

    /// Whether it is what C has before the assembler's text, in one of GCC's spellings.
    var isAsm: Bool { kind == .identifier && ["asm", "__asm", "__asm__"].contains(text) }
    /// Whether it is what C has before attributes.
    var isAttribute: Bool { kind == .identifier && ["__attribute__", "__attribute"].contains(text) }

    /// As it could be written, for comparison and for messages.
    var spelling: String {
        switch kind {
        case .string: "\"" + text + "\""
        case .character: "'" + text + "'"
        default: text
        }
    }
}

extension Sequence<Token> {
    /// How that begins, as much of it as is quoted.
    var quoted: String { String(prefix(Self.mostQuoted).spelling.unicodeScalars.prefix(Self.mostQuoted)) }

    private static var mostQuoted: Int { 60 }

    /// The words on one line, with space between them only where C reads better so.
    var spelling: String {
        var text = "", last = ""
        for token in self {
            let tight =
                ["(", "[", ".", "->", "!", "~"].contains(last) || [")", "]", ",", ";", "(", "[", ".", "->"].contains(token.text)
            let afterKeyword = token.text == "(" && ["if", "for", "while", "switch", "return"].contains(last)
            text += (text.isEmpty || (tight && !afterKeyword) ? "" : " ") + token.spelling
            last = token.text
        }
        return text
    }
}
