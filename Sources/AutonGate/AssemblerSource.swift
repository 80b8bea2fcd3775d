/// nasm's input, line by line: continued lines joined, comments gone. Nothing is expanded.
///
/// Inline assembly for gas is read with it too: its `%` and `$` before a name or number are punctuators here.
struct AssemblerSource: Sendable {
    /// The words of each line that has any.
    private(set) var lines: [[Token]] = []
    /// Lines with brackets so deep that they are not read.
    private(set) var tooDeep: [Int] = []

    init(_ text: [UInt8]) {
        var number = 0, start = 1
        var begun: [UInt8] = []
        let text = text.dropFirst(text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0)
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if begun.isEmpty { start = number }
            begun += line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            // Before anything else, so that a word may be in two lines, and a comment's end too.
            if begun.last == UInt8(ascii: "\\") {
                begun.removeLast()
                // Not empty, so that the line's number stays.
                if begun.isEmpty { begun = [0x20] }
                continue
            }
            var words: [Token] = []
            Self.split(begun[...], start, into: &words)
            begun = []
            add(words)
        }
        var words: [Token] = []
        Self.split(begun[...], start, into: &words)
        add(words)
    }

    private mutating func add(_ words: [Token]) {
        guard let first = words.first else { return }
        if CSource.depth(of: words) > CSource.deepest { tooDeep.append(first.line) } else { lines.append(words) }
    }

    private static func split(_ line: ArraySlice<UInt8>, _ number: Int, into words: inout [Token]) {
        var rest = line, isTight = false
        while let byte = rest.first {
            if byte == UInt8(ascii: ";") { return }
            defer { isTight = !CLexer.isBlank(byte) }
            if CLexer.isBlank(byte) {
                rest = rest.dropFirst()
            } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "`") {
                let inside = quoted(rest.dropFirst(), byte)
                let value = byte == UInt8(ascii: "`") ? Escapes.decode(inside) : String(decoding: inside, as: UTF8.self)
                words.append(Token(kind: .string, text: value, line: number))
                rest = rest.dropFirst(inside.count + 2)
            } else if isWord(byte) {
                let word = rest.prefix { isWord($0) || CLexer.isDigit($0) }
                words.append(Token(kind: .identifier, text: String(decoding: word, as: UTF8.self), line: number))
                rest = rest.dropFirst(word.count)
            } else if CLexer.isDigit(byte) {
                let word = rest.prefix { isWord($0) || CLexer.isDigit($0) }
                words.append(Token(kind: .number, text: String(decoding: word, as: UTF8.self), line: number))
                rest = rest.dropFirst(word.count)
            } else {
                let pair = String(decoding: rest.prefix(2), as: UTF8.self)
                let text = ["<<", ">>", "==", "!=", "<=", ">=", "%+", "&&", "||"].contains(pair) ? pair : String(pair.prefix(1))
                words.append(Token(kind: .punctuator, text: text, line: number, isTight: isTight))
                rest = rest.dropFirst(max(1, text.utf8.count))
            }
        }
    }

    /// What stands before the closing quote, or before the end of the line.
    private static func quoted(_ rest: ArraySlice<UInt8>, _ quote: UInt8) -> ArraySlice<UInt8> {
        var end = rest.startIndex
        while end < rest.endIndex, rest[end] != quote {
            end += quote == UInt8(ascii: "`") && rest[end] == UInt8(ascii: "\\") ? 2 : 1
        }
        return rest[..<min(end, rest.endIndex)]
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (CLexer.isLetter(byte) && byte != UInt8(ascii: "$")) || "#@~.?".utf8.contains(byte)
    }
}
