/// A C file after the first phases of translation: lines spliced, comments gone, digraphs what they stand for.
/// Nothing is expanded, and all branches of a condition are read.
struct CSource: Sendable {
    /// `#define A 1`: its name, its words, and where among the file's other words it stands.
    struct Directive: Sendable {
        var name: String
        var words: [Token]
        var line: Int
        var position: Int
    }

    /// What is code, directives left out.
    private(set) var tokens: [Token] = []
    private(set) var directives: [Directive] = []
    /// What it defines and declares, in its order.
    var units: [CUnit] = []
    /// Whether it is nested so deep that it was not read.
    private(set) var isTooDeep = false
    /// What hides code from a reader, by its line.
    private(set) var disguises: [(line: Int, what: String)] = []

    init(_ text: [UInt8]) {
        var lexer = CLexer(text)
        var directive: [Token]?
        while let item = lexer.next() {
            switch item {
            case .token(let token):
                if directive != nil {
                    Self.append(token, to: &directive!)
                } else {
                    Self.append(token, to: &tokens, after: directives.last?.position)
                }
            case .directive: directive = []
            case .endOfLine:
                if let words = directive { end(words, lexer) }
                directive = nil
            }
        }
        if let words = directive { end(words, lexer) }
        disguises = lexer.disguises
        let deepest = findUnits()
        // What no person writes is not read further: it could cost more time than there is.
        if max(deepest, directives.map { Self.depth(of: $0.words) }.max() ?? 0) > Self.deepest {
            (tokens, directives, units, isTooDeep) = ([], [], [], true)
            disguises.append((1, "brackets or conditions nested deeper than \(Self.deepest)"))
        }
    }

    static let deepest = 100

    static func depth(of words: [Token]) -> Int {
        var depth = 0, deepest = 0
        for word in words where word.kind == .punctuator {
            if ["(", "[", "{"].contains(word.text) { depth += 1 }
            if [")", "]", "}"].contains(word.text) { depth = max(0, depth - 1) }
            deepest = max(deepest, depth)
        }
        return deepest
    }

    private mutating func end(_ words: [Token], _ lexer: CLexer) {
        guard let first = words.first else { return }
        directives.append(
            Directive(name: first.text, words: Array(words.dropFirst()), line: first.line, position: tokens.count))
    }

    /// Strings side by side are one.
    ///
    /// - Parameter directive: the position of the last one; where strings are joined across it, that is written too.
    private static func append(_ token: Token, to tokens: inout [Token], after directive: Int? = nil) {
        if token.kind == .string, let last = tokens.last, last.kind == .string {
            tokens[tokens.count - 1].text += token.text
            let across = directive == tokens.count ? "\n" : ""
            tokens[tokens.count - 1].written? += across + (token.written ?? "")
        } else {
            tokens.append(token)
        }
    }

    /// The directives that define macros.
    var macros: [Directive] { directives.filter { $0.name == "define" } }

    /// The words of the code and those of each directive, each in one piece.
    var pieces: [[Token]] { [tokens] + directives.map(\.words) }
}
