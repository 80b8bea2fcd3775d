/// Splits C into words, as gcc does with -std=gnu11 (which has no trigraphs).
struct CLexer {
    enum Item {
        case token(Token)
        /// A `#` that comes first on its line.
        case directive
        case endOfLine
    }

    private(set) var disguises: [(line: Int, what: String)] = []
    /// Without spliced line ends.
    private var bytes: [UInt8] = []
    /// The line of each byte.
    private var lines: [Int32] = []
    private var index = 0
    private var isLineStart = true
    /// Where the word before this one ended.
    private var end = 0

    init(_ text: [UInt8]) {
        bytes.reserveCapacity(text.count + 1)
        lines.reserveCapacity(text.count + 1)
        var line: Int32 = 1, at = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        while at < text.count {
            if text[at] == UInt8(ascii: "\\") {
                // White space before the line's end does not keep gcc from splicing.
                var end = at + 1
                while end < text.count, Self.isBlank(text[end]) { end += 1 }
                if end < text.count, text[end] == UInt8(ascii: "\n") {
                    (line, at) = (line + 1, end + 1)
                    continue
                }
            }
            bytes.append(text[at])
            lines.append(line)
            if text[at] == UInt8(ascii: "\n") { line += 1 }
            at += 1
        }
    }

    mutating func next() -> Item? {
        while let byte = peek() {
            if byte == UInt8(ascii: "\n") {
                index += 1
                isLineStart = true
                return .endOfLine
            } else if Self.isBlank(byte) {
                index += 1
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "/") {
                while let byte = peek(), byte != UInt8(ascii: "\n") {
                    if byte == UInt8(ascii: "?") { note(trigraphAt: index, inComment: true) }
                    index += 1
                }
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                index += 2
                while peek() != nil, !(peek() == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/")) { index += 1 }
                index += 2
            } else {
                let isTight = index == end
                let item = item(byte)
                end = index
                guard case .token(var token) = item else { return item }
                token.isTight = isTight
                return .token(token)
            }
        }
        return nil
    }

    private mutating func item(_ byte: UInt8) -> Item {
        let start = index, wasLineStart = isLineStart
        isLineStart = false
        if Self.isLetter(byte) {
            while let byte = peek(), Self.isLetter(byte) || Self.isDigit(byte) { index += 1 }
            if let quote = peek(), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                let prefix = text(from: start)
                if ["u8", "u", "U", "L"].contains(prefix) { return quoted(quote, from: start) }
                if ["R", "u8R", "uR", "UR", "LR"].contains(prefix) { note("a raw string") }
            }
            return .token(Token(kind: .identifier, text: text(from: start), line: line(start)))
        }
        if Self.isDigit(byte) || (byte == UInt8(ascii: ".") && Self.isDigit(peek(1) ?? 0)) { return number() }
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") { return quoted(byte, from: index) }
        if byte == UInt8(ascii: "?") { note(trigraphAt: index, inComment: false) }
        let punctuator = punctuator()
        if wasLineStart && punctuator == "#" { return .directive }
        return .token(Token(kind: .punctuator, text: punctuator, line: line(start)))
    }

    private mutating func number() -> Item {
        let start = index
        var last: UInt8 = 0
        while let byte = peek() {
            let isSign = (byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")) && "eEpP".utf8.contains(last)
            // 0xe+1 is a sum for whoever reads it; C makes it one word, which is no number and does not compile.
            guard Self.isLetter(byte) || Self.isDigit(byte) || byte == UInt8(ascii: ".") || isSign else { break }
            (last, index) = (byte, index + 1)
        }
        return .token(Token(kind: .number, text: text(from: start), line: line(start)))
    }

    /// To the closing quote, or to the end of a line that has none.
    ///
    /// - Parameter first: where its prefix begins.
    private mutating func quoted(_ quote: UInt8, from first: Int) -> Item {
        let start = index
        index += 1
        while let byte = peek(), byte != quote, byte != UInt8(ascii: "\n") { index += byte == UInt8(ascii: "\\") ? 2 : 1 }
        let end = min(index, bytes.count)
        if peek() == quote { index += 1 }
        let value = Escapes.decode(bytes[min(start + 1, end)..<end])
        let kind = quote == UInt8(ascii: "\"") ? Token.Kind.string : .character
        return .token(Token(kind: kind, text: value, line: line(start), written: text(from: first)))
    }

    private static let digraphs: [(String, String)] = [
        ("%:%:", "##"), ("%:", "#"), ("<:", "["), (":>", "]"), ("<%", "{"), ("%>", "}"),
    ]
    private static let longest = [
        "<<=", ">>=", "...", "##", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "*=", "/=", "%=", "+=", "-=",
        "&=", "^=", "|=",
    ]

    private mutating func punctuator() -> String {
        let rest = bytes[index..<min(index + 4, bytes.count)]
        if let (spelled, meant) = Self.digraphs.first(where: { rest.starts(with: $0.0.utf8) }) {
            index += spelled.utf8.count
            return meant
        }
        let found = Self.longest.first { rest.starts(with: $0.utf8) }
        index += found?.utf8.count ?? 1
        return found ?? String(decoding: rest.prefix(1), as: UTF8.self)
    }

    /// With another -std, or for another reader, `??=` is `#` and `??/` splices a comment's line with the next.
    private mutating func note(trigraphAt index: Int, inComment: Bool) {
        guard index + 2 < bytes.count, bytes[index + 1] == UInt8(ascii: "?") else { return }
        let marks = inComment ? "/" : "=/'()!<>-"
        if marks.utf8.contains(bytes[index + 2]) { note("a trigraph") }
    }

    private mutating func note(_ what: String) { disguises.append((line(index), what)) }

    private func peek(_ ahead: Int = 0) -> UInt8? { index + ahead < bytes.count ? bytes[index + ahead] : nil }
    private func line(_ index: Int) -> Int { index < lines.count ? Int(lines[index]) : Int(lines.last ?? 1) }
    private func text(from start: Int) -> String { String(decoding: bytes[start..<min(index, bytes.count)], as: UTF8.self) }

    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0d && byte != 0x0a) }
    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    /// What an identifier may begin with; letters of other alphabets included.
    static func isLetter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "$"):
            true
        default: byte >= 0x80
        }
    }
}
