/// The escapes of C's strings, which are nasm's in back-quotes.
enum Escapes {
    /// What a string stands for: a byte that an escape names is the character of that number.
    static func decode(_ bytes: ArraySlice<UInt8>) -> String {
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes, as: UTF8.self) }
        var decoded = ""
        var rest = bytes
        while !rest.isEmpty {
            let plain = rest.prefix { $0 != UInt8(ascii: "\\") }
            decoded += String(decoding: plain, as: UTF8.self)
            rest = rest.dropFirst(plain.count + 1)
            guard plain.endIndex < bytes.endIndex, let escape = rest.popFirst() else { break }
            var value = single[escape] ?? escape
            switch escape {
            case UInt8(ascii: "x"): value = take(&rest, 16, radix: 16) ?? escape
            case UInt8(ascii: "u"): value = take(&rest, 4, radix: 16) ?? escape
            case UInt8(ascii: "U"): value = take(&rest, 8, radix: 16) ?? escape
            case UInt8(ascii: "0")...UInt8(ascii: "7"):
                rest = bytes[(rest.startIndex - 1)...]
                value = take(&rest, 3, radix: 8) ?? 0
            default: break
            }
            decoded.unicodeScalars.append(UnicodeScalar(value))
        }
        return decoded
    }

    private static let single: [UInt8: UInt8] = [
        UInt8(ascii: "n"): 10, UInt8(ascii: "t"): 9, UInt8(ascii: "r"): 13, UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8,
        UInt8(ascii: "f"): 12, UInt8(ascii: "v"): 11, UInt8(ascii: "e"): 27,
    ]

    private static func take(_ rest: inout ArraySlice<UInt8>, _ most: Int, radix: Int) -> UInt8? {
        let digits = rest.prefix(most).prefix { Character(UnicodeScalar($0)).hexDigitValue.map { $0 < radix } ?? false }
        rest = rest.dropFirst(digits.count)
        return digits.isEmpty
            ? nil : digits.reduce(0) { $0 &* UInt8(radix) &+ UInt8(Character(UnicodeScalar($1)).hexDigitValue ?? 0) }
    }
}
