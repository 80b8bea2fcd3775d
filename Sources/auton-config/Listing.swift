import AutonSettings
import FoundationEssentials

/// The settings as they are in effect.
struct Listing {
    private struct Line: Encodable {
        var key: String
        var value: SettingValue?
        var source: String

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(key, forKey: .key)
            try container.encode(value, forKey: .value)
            try container.encode(source, forKey: .source)
        }

        enum Keys: String, CodingKey { case key, value, source }
    }

    private let lines: [Line]
    private let keySource: String?

    /// - Throws: `AutonError` if the file that is to hold the API key cannot.
    init(_ settings: Settings) throws {
        lines = settings.all.map { Line(key: $0.key, value: $0.value(settings), source: settings.source(of: $0).description) }
        keySource = try APIKey.find(settings)?.source
    }

    /// A configuration that says the same.
    var toml: String {
        let rows = lines.map { line in
            (line.value.map { "\(line.key) = \($0.toml)" } ?? "# \(line.key) = none") + "  # \(line.source)\n"
        }
        return rows.joined() + "# API key: \(keySource ?? "none")\n"
    }

    /// One object a line. The API key's line has no value.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let all = lines + [Line(key: "api_key", value: nil, source: keySource ?? "none")]
        return try all.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }.joined()
    }
}
