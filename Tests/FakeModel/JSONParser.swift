import AutonKit

extension JSON {
    /// - Throws: `AutonError` with `.badInput` and the byte at which it stops being JSON.
    init(parsing bytes: [UInt8]) throws {
        var parser = JSONParser(bytes: bytes)
        self = try parser.document()
    }
}

/// Reads one JSON text (RFC 8259).
private struct JSONParser {
    let bytes: [UInt8]
    private var place = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> JSON {
        let value = try value(depth: 0)
        if peek() != nil { throw failure("something follows the value") }
        return value
    }

    private func failure(_ what: String) -> AutonError {
        AutonError(.badInput, "not JSON: \(what)", at: "byte \(place)")
    }

    /// The next byte that is no white space.
    private mutating func peek() -> UInt8? {
        while place < bytes.count {
            let byte = bytes[place]
            if byte != 0x20 && byte != 0x0A && byte != 0x0D && byte != 0x09 { return byte }
            place += 1
        }
        return nil
    }

    private mutating func take(_ character: Unicode.Scalar) throws {
        guard peek() == UInt8(ascii: character) else { throw failure("expected \(character)") }
        place += 1
    }

    private mutating func value(depth: Int) throws -> JSON {
        if depth > 200 { throw failure("nested too deep") }
        switch peek() {
        case UInt8(ascii: "{"): return .object(try members(depth: depth + 1))
        case UInt8(ascii: "["): return .array(try items(depth: depth + 1))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func members(depth: Int) throws -> [JSON.Member] {
        try take("{")
        var members: [JSON.Member] = []
        if peek() == UInt8(ascii: "}") {
            place += 1
            return members
        }
        while true {
            _ = peek()
            let name = try string()
            try take(":")
            members.append(JSON.Member(name: name, value: try value(depth: depth)))
            guard peek() == UInt8(ascii: ",") else { break }
            place += 1
        }
        try take("}")
        return members
    }

    private mutating func items(depth: Int) throws -> [JSON] {
        try take("[")
        var items: [JSON] = []
        if peek() == UInt8(ascii: "]") {
            place += 1
            return items
        }
        while true {
            items.append(try value(depth: depth))
            guard peek() == UInt8(ascii: ",") else { break }
            place += 1
        }
        try take("]")
        return items
    }

    private mutating func word(_ text: StaticString, _ value: JSON) throws -> JSON {
        let end = place + text.utf8CodeUnitCount
        guard end <= bytes.count, text.withUTF8Buffer({ $0.elementsEqual(bytes[place..<end]) }) else {
            throw failure("unknown word")
        }
        place = end
        return value
    }

    private mutating func number() throws -> JSON {
        let start = place
        if at("-") { place += 1 }
        let whole = digits()
        guard whole == 1 || (whole > 1 && bytes[place - whole] != UInt8(ascii: "0")) else { throw failure("expected a value") }
        if at(".") {
            place += 1
            if digits() == 0 { throw failure("expected a digit") }
        }
        if at("e") || at("E") {
            place += 1
            if at("+") || at("-") { place += 1 }
            if digits() == 0 { throw failure("expected a digit") }
        }
        return .number(String(decoding: bytes[start..<place], as: UTF8.self))
    }

    private func at(_ character: Unicode.Scalar) -> Bool { place < bytes.count && bytes[place] == UInt8(ascii: character) }

    private mutating func digits() -> Int {
        let start = place
        while place < bytes.count, bytes[place] >= 0x30 && bytes[place] <= 0x39 { place += 1 }
        return place - start
    }

    private mutating func string() throws -> String {
        guard at("\"") else { throw failure("expected a string") }
        place += 1
        var text: [UInt8] = []
        while true {
            let start = place
            place = plainEnd(from: start)
            text += bytes[start..<place]
            guard place < bytes.count else { throw failure("a string has no end") }
            if bytes[place] < 0x20 { throw failure("a control character in a string") }
            place += 1
            if bytes[place - 1] == UInt8(ascii: "\"") { break }
            text += String(Character(try escape())).utf8
        }
        guard let string = String(validating: text, as: UTF8.self) else { throw failure("not UTF-8") }
        return string
    }

    /// Where the bytes end that stand for themselves. Nearly all of a request is such bytes.
    private func plainEnd(from start: Int) -> Int {
        bytes.withUnsafeBufferPointer { bytes in
            var end = start
            while end < bytes.count, bytes[end] >= 0x20, bytes[end] != UInt8(ascii: "\""), bytes[end] != UInt8(ascii: "\\") {
                end += 1
            }
            return end
        }
    }

    private mutating func escape() throws -> Unicode.Scalar {
        guard place < bytes.count else { throw failure("a string has no end") }
        defer { place += 1 }
        switch bytes[place] {
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case let byte where "\"\\/".utf8.contains(byte): return Unicode.Scalar(byte)
        case UInt8(ascii: "u"):
            let unit = try hexadecimal()
            if let scalar = Unicode.Scalar(unit) { return scalar }
            // The first half of a pair; the second has to follow. A half alone is no character, and the API refuses it too.
            guard unit < 0xDC00, place + 2 < bytes.count, bytes[place + 1] == UInt8(ascii: "\\"),
                bytes[place + 2] == UInt8(ascii: "u")
            else { throw failure("half a surrogate pair") }
            place += 2
            let low = try hexadecimal()
            guard (0xDC00..<0xE000).contains(low) else { throw failure("half a surrogate pair") }
            return Unicode.Scalar(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))!
        default: throw failure("unknown escape")
        }
    }

    /// The four digits after the `u` at `place`, which is left at the last of them.
    private mutating func hexadecimal() throws -> UInt32 {
        guard place + 4 < bytes.count,
            bytes[place + 1...place + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }),
            let value = UInt32(String(decoding: bytes[place + 1...place + 4], as: UTF8.self), radix: 16)
        else { throw failure("expected four hexadecimal digits") }
        place += 4
        return value
    }
}
