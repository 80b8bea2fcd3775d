/// The spellings of whole numbers.
enum Numeral {
    /// 760, 0x2f8, 01370, 0b1011111000, with C's suffixes.
    static func c(_ text: String) -> Int? {
        var digits = Substring(text.lowercased())
        while let last = digits.last, last == "u" || last == "l" { digits.removeLast() }
        if digits.hasPrefix("0x") { return value(digits.dropFirst(2), 16) }
        if digits.hasPrefix("0b") { return value(digits.dropFirst(2), 2) }
        return value(digits, digits.hasPrefix("0") ? 8 : 10)
    }

    private static let suffixes: [Character: Int] = ["h": 16, "x": 16, "d": 10, "t": 10, "o": 8, "q": 8, "b": 2, "y": 2]

    /// 760, 0760d, 2f8h, 0x2f8, 0h2f8, 1370q, 0o1370, 1011111000b, 0b10_1111_1000.
    static func nasm(_ text: String) -> Int? {
        let digits = Substring(text.lowercased().filter { $0 != "_" })
        if let radix = digits.last.flatMap({ suffixes[$0] }), let found = value(digits.dropLast(), radix) { return found }
        if digits.first == "0", let radix = digits.dropFirst().first.flatMap({ suffixes[$0] }) {
            return value(digits.dropFirst(2), radix)
        }
        return value(digits, 10)
    }

    static func value(_ digits: Substring, _ radix: Int) -> Int? {
        guard digits.allSatisfy({ $0.isHexDigit }) else { return nil }
        return UInt(digits, radix: radix).map { Int(truncatingIfNeeded: $0) }
    }
}
