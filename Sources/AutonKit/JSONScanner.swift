import FoundationEssentials

/// Finds where a text stops being JSON (RFC 8259), which the decoder does not tell.
struct JSONScanner {
    private let bytes: [UInt8]
    private var at = 0
    /// As the decoder has it.
    private static let deepest = 512

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// As in “line 2, column 5”, counted in characters from 1; nil if it does not.
    static func fault(in bytes: [UInt8]) -> String? {
        var scanner = JSONScanner(bytes)
        if scanner.value(depth: 0) {
            scanner.skipSpace()
            if scanner.at == bytes.count { return nil }
        }
        let before = bytes[..<scanner.at]
        let line = before.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return "line \(line.count), column \(line.last!.count { $0 & 0xC0 != 0x80 } + 1)"
    }

    // Each of these is false where it stops, with `at` there.

    private mutating func value(depth: Int) -> Bool {
        skipSpace()
        guard at < bytes.count, depth < Self.deepest else { return false }
        switch bytes[at] {
        case UInt8(ascii: "{"):
            return list(until: "}") { $0.text() && $0.takeAfterSpace(":") && $0.value(depth: depth + 1) }
        case UInt8(ascii: "["): return list(until: "]") { $0.value(depth: depth + 1) }
        case UInt8(ascii: "\""): return text()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return number()
        default: return ["true", "false", "null"].contains { word($0) }
        }
    }

    private mutating func list(until end: Unicode.Scalar, of item: (inout JSONScanner) -> Bool) -> Bool {
        at += 1
        if takeAfterSpace(end) { return true }
        repeat {
            skipSpace()
            if !item(&self) { return false }
            if takeAfterSpace(end) { return true }
        } while takeAfterSpace(",")
        return false
    }

    private mutating func text() -> Bool {
        guard take("\"") else { return false }
        while at < bytes.count, bytes[at] >= 0x20 {
            if take("\"") { return true }
            if take("\\") {
                let isUnicode = take("u")
                for _ in 0..<(isUnicode ? 4 : 1) {
                    guard at < bytes.count, (isUnicode ? "0123456789abcdefABCDEF" : "\"\\/bfnrt").utf8.contains(bytes[at]) else {
                        return false
                    }
                    at += 1
                }
            } else {
                at += 1
            }
        }
        return false
    }

    private mutating func number() -> Bool {
        _ = take("-")
        if !take("0") { guard digits() else { return false } }
        if take(".") { guard digits() else { return false } }
        guard take("e") || take("E") else { return true }
        _ = take("+") || take("-")
        return digits()
    }

    private mutating func digits() -> Bool {
        let start = at
        while at < bytes.count, bytes[at] >= UInt8(ascii: "0"), bytes[at] <= UInt8(ascii: "9") { at += 1 }
        return at > start
    }

    private mutating func word(_ word: String) -> Bool {
        guard bytes[at...].starts(with: word.utf8) else { return false }
        at += word.utf8.count
        return true
    }

    private mutating func takeAfterSpace(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        return take(character)
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    private mutating func skipSpace() {
        while at < bytes.count, " \n\r\t".utf8.contains(bytes[at]) { at += 1 }
    }
}

extension JSONDecoder {
    /// Decodes, and says where what is no JSON stops being it.
    package func decode<T: Decodable>(_ type: T.Type, fromJSON bytes: [UInt8]) throws -> T {
        do {
            return try decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            guard let place = JSONScanner.fault(in: bytes) else { throw error }
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: [], debugDescription: "not valid JSON at \(place)"))
        }
    }
}
