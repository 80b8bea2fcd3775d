/// What is written as one of a few names. Any other is told with those that there are.
package protocol Choice: RawRepresentable<String>, CaseIterable, Codable, Sendable {}

extension Choice {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let name = try container.decode(String.self)
        guard let choice = Self(rawValue: name) else {
            let all = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "“\(name.prefix(60))” is none of \(all)")
        }
        self = choice
    }
}
