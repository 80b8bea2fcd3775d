import AutonModel

/// A tool's inputs in the order in which values without a name fill them.
///
/// JSON objects have no order, so it is a rule: required inputs before optional ones; among these what names a thing
/// (path, pattern, …), then numbers and choices, other text and lists of it, switches, `old` before `new`, long text,
/// structures; then by name.
struct ToolSignature {
    struct Input {
        var name: String
        /// With `$ref` resolved.
        var schema: JSONValue
        /// The JSON types that an array's items may have.
        var itemTypes: [String]
        var isRequired: Bool

        /// The JSON types that are allowed; empty if any is.
        var types: [String] { Self.types(of: schema) }

        static func types(of schema: JSONValue) -> [String] {
            schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string)
                ?? (schema["enum"] == nil ? [] : ["string"])
        }
    }

    let tool: Tool
    let inputs: [Input]

    init(_ tool: Tool) {
        self.tool = tool
        let required = Set((tool.inputSchema["required"]?.array ?? []).compactMap(\.string))
        guard case .object(let properties)? = tool.inputSchema["properties"] else {
            inputs = []
            return
        }
        inputs =
            properties
            .map { name, schema in
                let schema = Self.resolve(schema, in: tool.inputSchema)
                let items = schema["items"].map { Self.resolve($0, in: tool.inputSchema) }
                return Input(
                    name: name, schema: schema, itemTypes: items.map(Input.types) ?? [], isRequired: required.contains(name))
            }
            .sorted { (Self.rank($0), $0.name) < (Self.rank($1), $1.name) }
    }

    private static let naming: Set = [
        "path", "file", "directory", "name", "id", "task", "target", "pattern", "verdict", "decision",
    ]
    private static let long: Set = [
        "body", "code", "command", "content", "contents", "description", "diff", "message", "patch", "reason", "script",
        "summary",
        "text",
    ]

    private static func rank(_ input: Input) -> Int {
        let type = input.types.first ?? "string"
        let kind =
            switch input.name {
            case _ where type == "object" || type == "array" && input.itemTypes == ["object"]: 7
            case let name where naming.contains(name): 0
            case "old": 4
            case "new": 5
            case let name where long.contains(name): 6
            case _ where type == "boolean": 3
            case _ where type != "string" && type != "array" || input.schema["enum"] != nil: 1
            default: 2
            }
        return kind + (input.isRequired ? 0 : 10)
    }

    /// As in `read path:string [from:integer]`.
    var line: String {
        ([tool.name]
            + inputs.map { input in
                let text = "\(input.name):\(describe(input.schema, depth: 0))"
                return input.isRequired ? text : "[\(text)]"
            }).joined(separator: " ")
    }

    private func describe(_ schema: JSONValue, depth: Int) -> String {
        let schema = Self.resolve(schema, in: tool.inputSchema)
        if let allowed = schema["enum"]?.array { return allowed.map { $0.string ?? $0.compact }.joined(separator: "|") }
        let types = Input.types(of: schema)
        switch types {
        case ["array"]:
            guard depth < 4, let items = schema["items"] else { return "[…]" }
            return "[\(describe(items, depth: depth + 1))]"
        case ["object"]:
            guard depth < 4, case .object(let properties)? = schema["properties"] else { return "{…}" }
            let required = Set((schema["required"]?.array ?? []).compactMap(\.string))
            let members = properties.sorted { $0.key < $1.key }.map {
                "\($0.key)\(required.contains($0.key) ? "" : "?"): \(describe($0.value, depth: depth + 1))"
            }
            return "{\(members.joined(separator: ", "))}"
        case ["integer"]:
            switch (schema["minimum"]?.integer, schema["maximum"]?.integer) {
            case (let least?, let most?): return "integer(\(least)…\(most))"
            case (let least?, nil): return "integer(\(least)…)"
            case (nil, let most?): return "integer(…\(most))"
            case (nil, nil): return "integer"
            }
        case []: return "any"
        default: return types.joined(separator: "|")
        }
    }

    /// What the schema says about inputs and their parts: `path: …`, `comments[].line: …`.
    var remarks: [String] { inputs.flatMap { remarks($0.schema, at: $0.name, depth: 0) } }

    private func remarks(_ schema: JSONValue, at place: String, depth: Int) -> [String] {
        let schema = Self.resolve(schema, in: tool.inputSchema)
        var lines = schema["description"]?.string.map { ["\(place): \($0)"] } ?? []
        guard depth < 4 else { return lines }
        if let items = schema["items"] { lines += remarks(items, at: place + "[]", depth: depth + 1) }
        if case .object(let members)? = schema["properties"] {
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                lines += remarks(member, at: "\(place).\(name)", depth: depth + 1)
            }
        }
        return lines
    }

    private static func resolve(_ schema: JSONValue, in root: JSONValue) -> JSONValue {
        guard let reference = schema["$ref"]?.string, reference.hasPrefix("#/$defs/") else { return schema }
        return root["$defs"]?[String(reference.dropFirst(8))] ?? schema
    }
}

extension JSONValue {
    /// On one line, as it travels.
    var compact: String { (try? CompactJSON.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "" }
}
