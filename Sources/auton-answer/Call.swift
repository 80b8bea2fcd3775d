import AutonModel

/// A call of a tool before it is part of a reply.
struct Call: Codable, Equatable {
    var name: String
    var input: JSONValue

    func problems(for tool: Tool) -> [String] { JSONSchema(tool.inputSchema).problems(in: input) }

    private static let longest = 60

    /// The call on one line, long values only by their size: `edit boot/entry.asm old=(120 bytes) new=(131 bytes)`.
    func short(for tool: Tool?) -> String {
        guard case .object(let members) = input else { return "\(name) \(input.compact.prefix(Self.longest))" }
        let known = tool.map { ToolSignature($0).inputs } ?? []
        let names = known.map(\.name).filter { members[$0] != nil }
        let all = names + members.keys.filter { !names.contains($0) }.sorted()
        let words = all.enumerated().map { index, member in
            let value = Self.short(members[member] ?? .null, alone: all.count == 1)
            let isBare = index == 0 && known.first?.name == member && known.first?.isRequired == true
            return isBare ? value : "\(member)=\(value)"
        }
        return ([name] + words).joined(separator: " ")
    }

    private static func short(_ value: JSONValue, alone: Bool) -> String {
        guard let text = value.string else {
            let text = value.compact
            if text.count <= longest { return text }
            return value.array.map { "(\($0.count) items)" } ?? "(\(text.utf8.count) bytes)"
        }
        let line = alone && text.hasSuffix("\n") ? String(text.dropLast()) : text
        if line.count <= longest && !line.contains(where: \.isNewline) {
            return line.isEmpty || line.contains(" ") ? "'\(line)'" : line
        }
        guard alone, let line = text.split(whereSeparator: \.isNewline).first else { return "(\(text.utf8.count) bytes)" }
        return "'\(line.prefix(longest))…' (\(text.utf8.count) bytes)"
    }
}
