import AutonKit

/// The value of a setting, as TOML has it.
package enum SettingValue: Sendable, Equatable {
    case string(String)
    case integer(Int)
    case number(Double)
    case boolean(Bool)
    case strings([String: String])
    /// Of a type that no setting has: its name, as in “an array”.
    case other(String)

    /// As it stands in a TOML file.
    package var toml: String {
        switch self {
        case .string(let text): Self.quoted(text)
        case .integer(let number): String(number)
        case .number(let number): "\(number)"
        case .boolean(let flag): String(flag)
        case .strings(let table) where table.isEmpty: "{}"
        case .strings(let table):
            "{ \(table.sorted { $0.key < $1.key }.map { "\(Self.quoted($0)) = \(Self.quoted($1))" }.joined(separator: ", ")) }"
        case .other(let name): name
        }
    }

    /// As a shell script wants it: text without its quotes.
    package var bare: String {
        if case .string(let text) = self { text } else { toml }
    }

    /// As an error names it, in short, and without a password.
    var inWords: String {
        if case .strings = self { return "a table" }
        let text = if case .string(let text) = self { Self.quoted(text.withoutUser) } else { toml }
        return text.count > 60 ? "\(text.prefix(60))…" : text
    }

    /// A key as TOML writes it: its parts, in quotes where they need them, between dots.
    static func key(_ parts: [String]) -> String {
        parts.map { $0.isEmpty || !$0.utf8.allSatisfy(isBare) ? quoted($0) : $0 }.joined(separator: ".")
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        byte.isOfName || byte == UInt8(ascii: "-")
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case _ where scalar.value < 32 || scalar.value == 127:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension SettingValue: Encodable {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .string(let value), .other(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .boolean(let value): try container.encode(value)
        case .strings(let value): try container.encode(value)
        }
    }
}
