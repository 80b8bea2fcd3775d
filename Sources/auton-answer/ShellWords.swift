import AutonKit

/// Splits a line into words like a shell that expands nothing: blanks separate, quotes and backslashes keep together.
func shellWords(_ line: String) throws -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var rest = line[...]
    while let character = rest.popFirst() {
        switch (character, quote) {
        case ("'", "'"), ("\"", "\""): quote = nil
        case ("'", nil), ("\"", nil):
            quote = character
            word = word ?? ""
        case ("\\", nil):
            if let next = rest.popFirst() { word = (word ?? "") + String(next) }
        case ("\\", "\""):
            if let next = rest.first, next == "\"" || next == "\\" {
                rest.removeFirst()
                word = (word ?? "") + String(next)
            } else {
                word = (word ?? "") + "\\"
            }
        case (_, nil) where character.isWhitespace:
            if let whole = word { words.append(whole) }
            word = nil
        default: word = (word ?? "") + String(character)
        }
    }
    if let quote { throw AutonError(.usage, "no closing \(quote)", at: line) }
    return words + (word.map { [$0] } ?? [])
}
