/// A Swift type that a setting may have.
package protocol SettingType: Sendable {
    static var form: SettingForm { get }

    /// What is allowed unless the setting says more.
    static var usual: Allowed<Self> { get }

    /// Nil if the value is of another type.
    init?(_ value: SettingValue)

    var settingValue: SettingValue { get }
}

/// How a setting's value is written.
package enum SettingForm: Sendable {
    /// Text, which needs no quotes outside of a file.
    case text
    /// A table, whose keys may have a section of their own.
    case table
    /// A number or a truth value.
    case literal
}

extension SettingType {
    package static var form: SettingForm { .literal }
}

/// Which values a setting may have.
package struct Allowed<Value: SettingType>: Sendable {
    /// As in “an integer from 3 to 6”.
    let inWords: String
    let contains: @Sendable (Value) -> Bool
}

extension String: SettingType {
    package static var form: SettingForm { .text }

    /// Control characters would end a line of a script's input, or a header.
    package static var usual: Allowed<String> {
        Allowed(inWords: "a line of text") { text in
            !text.isEmpty && text.unicodeScalars.allSatisfy { $0.value >= 32 && $0.value != 127 }
        }
    }

    package init?(_ value: SettingValue) {
        guard case .string(let text) = value else { return nil }
        self = text
    }

    package var settingValue: SettingValue { .string(self) }
}

extension Int: SettingType {
    /// With a bound, as numbers have it all, so that no sum or product of a few of them overflows.
    package static var usual: Allowed<Int> { .from(1, to: 1_000_000_000) }

    package init?(_ value: SettingValue) {
        guard case .integer(let number) = value else { return nil }
        self = number
    }

    package var settingValue: SettingValue { .integer(self) }
}

extension Double: SettingType {
    package static var usual: Allowed<Double> { .above0(upTo: 1_000_000_000) }

    /// Neither NaN nor an infinity is a number of anything.
    package init?(_ value: SettingValue) {
        switch value {
        case .integer(let number): self.init(number)
        case .number(let number) where number.isFinite: self = number
        default: return nil
        }
    }

    package var settingValue: SettingValue { .number(self) }
}

extension Bool: SettingType {
    package static var usual: Allowed<Bool> { Allowed(inWords: "true or false") { _ in true } }

    package init?(_ value: SettingValue) {
        guard case .boolean(let flag) = value else { return nil }
        self = flag
    }

    package var settingValue: SettingValue { .boolean(self) }
}

extension SettingType where Self: CaseIterable & RawRepresentable<String> {
    package static var form: SettingForm { .text }

    package static var usual: Allowed<Self> {
        let names = allCases.map { "\"\($0.rawValue)\"" }
        return Allowed(inWords: names.dropLast().joined(separator: ", ") + " or " + names.last!) { _ in true }
    }

    package init?(_ value: SettingValue) {
        guard case .string(let text) = value else { return nil }
        self.init(rawValue: text)
    }

    package var settingValue: SettingValue { .string(rawValue) }
}

extension Allowed where Value == Int {
    static func from(_ low: Int, to high: Int) -> Self {
        Allowed(inWords: "an integer from \(low) to \(high)") { ($0 >= low) && ($0 <= high) }
    }
}

extension Allowed where Value == Double {
    static func above0(upTo high: Int) -> Self {
        Allowed(inWords: "a number above 0 and up to \(high)") { $0 > 0 && $0 <= Double(high) }
    }

    static func from0(upTo high: Int) -> Self {
        Allowed(inWords: "a number from 0 to \(high)") { $0 >= 0 && $0 <= Double(high) }
    }

    /// Up to a day.
    static var seconds: Self { .above0(upTo: 86_400) }
}
