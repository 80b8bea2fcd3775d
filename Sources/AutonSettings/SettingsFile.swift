import AutonKit
import Glibc
import SystemPackage
internal import TOMLKit

/// `auton.toml` as it was written: every value and where the statement with it begins.
struct SettingsFile {
    struct Entry {
        var parts: [String]
        var value: SettingValue
        var place: Place
    }

    /// Counted in lines and characters from 1.
    struct Place: Sendable, Equatable {
        var line: Int
        var column: Int
    }

    /// As errors name it.
    let name: String
    private(set) var entries: [Entry] = []

    /// Where it lies unless it is named.
    static let usualName = "auton.toml"
    private static let maxBytes = 64 << 10

    /// Reads the file or pipe that is named, or `auton.toml` if there is one; nil if there is none.
    ///
    /// - Throws: `AutonError` with `.badConfiguration`: what is malformed by line and column.
    static func find(_ named: String?) throws -> SettingsFile? {
        guard let name = named ?? (Files.exists(FilePath(usualName)) ? usualName : nil) else { return nil }
        do {
            return try SettingsFile(read(FilePath(name), mayBePipe: named != nil), name: name)
        } catch var error as AutonError {
            error.status = .badConfiguration
            throw error
        }
    }

    /// Whoever names a pipe, `--config <(COMMAND)`, waits for it; one that only lies there would keep every program waiting.
    private static func read(_ path: FilePath, mayBePipe: Bool) throws -> [UInt8] {
        try Files.failing("cannot read", at: path) {
            let file = try FileDescriptor.open(path, .readOnly, options: mayBePipe ? .closeOnExec : [.closeOnExec, .nonBlocking])
            return try file.closeAfter {
                var status = stat()
                fstat(file.rawValue, &status)
                switch status.st_mode & S_IFMT {
                case S_IFREG: break
                case S_IFIFO where mayBePipe: break
                case S_IFCHR where path == "/dev/null": break
                case S_IFDIR: throw Errno.isDirectory
                default: throw AutonError(.badConfiguration, "cannot read: not a regular file", at: path.string)
                }
                return try Files.read(file, atMost: maxBytes)
            }
        }
    }

    init(_ bytes: [UInt8], name: String) throws {
        self.name = name
        guard var text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw malformed(at: Self.place(ofFirstNonText: bytes), "not UTF-8 text")
        }
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        // The parser would end text there.
        for escape in ["\\u0000", "\\U00000000"] {
            guard let found = text.firstRange(of: escape) else { continue }
            throw malformed(at: Self.place(after: text[..<found.lowerBound]), "text cannot have the character \(escape)")
        }
        do {
            _ = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw malformed(at: Place(line: error.source.begin.line, column: error.source.begin.column), error.description)
        }
        readStatements(of: text)
    }

    /// Reads a document that holds, one statement at a time: the parser does not tell on which lines it found things.
    ///
    /// A statement is a table's header or a value with its key. It ends where the lines since its start make a document
    /// of their own, which no part of one does.
    private mutating func readStatements(of text: String) {
        var section: [String] = []
        var statement = ""
        var start = 1
        for (number, line) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let isFirst = statement.isEmpty
            statement += String(Substring(line)) + "\n"
            // Of several lines the last one closes an array or text; to try them all would take a minute for long text.
            guard isFirst || line.contains(where: "]\"'".utf8.contains), let table = try? TOMLTable(string: statement) else {
                continue
            }
            let words = statement.drop { $0 == " " || $0 == "\t" }
            let place = Place(line: start, column: statement.count - words.count + 1)
            if words.first == "[" {
                section = Self.names(in: table)
                // A header says that there is a table, which may be the mistake.
                let value: SettingValue = words.hasPrefix("[[") ? .other("an array of tables") : .strings([:])
                entries.append(Entry(parts: section, value: value, place: place))
            } else {
                add(table, below: section, at: place)
            }
            statement = ""
            start = number + 2
        }
    }

    private mutating func add(_ table: TOMLTable, below parts: [String], at place: Place) {
        for name in table.keys {
            guard let value = table[name] else { continue }
            let parts = parts + [name]
            if let inner = value.table, !inner.isEmpty, Setting.find(parts) == nil {
                add(inner, below: parts, at: place)
            } else {
                entries.append(Entry(parts: parts, value: Self.value(value), place: place))
            }
        }
    }

    /// The names in a key, which TOML makes tables in one another.
    private static func names(in table: TOMLTable) -> [String] {
        guard let name = table.keys.first else { return [] }
        return [name] + (table[name]?.table.map(names) ?? [])
    }

    private static func value(_ value: any TOMLValueConvertible) -> SettingValue {
        switch value.type {
        case .string: .string(value.string ?? "")
        case .int: .integer(value.int ?? 0)
        case .double: .number(value.double ?? .nan)
        case .bool: .boolean(value.bool ?? false)
        case .array: .other("an array")
        case .date, .time, .dateTime: .other("a date or time")
        case .table: strings(value.table).map(SettingValue.strings) ?? .other("a table of other things")
        }
    }

    private static func strings(_ table: TOMLTable?) -> [String: String]? {
        guard let table else { return nil }
        var strings: [String: String] = [:]
        for name in table.keys {
            guard let text = table[name]?.string else { return nil }
            strings[name] = text
        }
        return strings
    }

    private func malformed(at place: Place, _ what: String) -> AutonError {
        AutonError(.badConfiguration, "\(name):\(place.line):\(place.column): \(what)")
    }

    private static func place(ofFirstNonText bytes: [UInt8]) -> Place {
        let mended = String(decoding: bytes, as: UTF8.self).utf8
        let text = zip(bytes, mended).prefix { $0 == $1 && $0 != 0 }.map(\.0)
        return place(after: String(decoding: text, as: UTF8.self)[...])
    }

    /// Where the next character would be.
    private static func place(after text: Substring) -> Place {
        let scalars = text.unicodeScalars
        return Place(
            line: scalars.count { $0 == "\n" } + 1, column: scalars.reversed().prefix { $0 != "\n" }.count + 1)
    }
}

extension SettingsFile {
    /// The parts of a key that was typed; nil if it is none.
    static func parts(of key: String) -> [String]? {
        guard let table = try? TOMLTable(string: key + " = 0"), table.count == 1 else { return nil }
        return names(in: table)
    }

    /// What was typed for a value; text where it is nothing else.
    static func value(typed text: String) -> SettingValue {
        guard let table = try? TOMLTable(string: "value = " + text), table.count == 1, let value = table["value"] else {
            return .string(text)
        }
        return self.value(value)
    }
}
