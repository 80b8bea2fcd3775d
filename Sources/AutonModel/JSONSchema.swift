/// Checks values against the part of JSON Schema that our tools and messages use: `type`, `properties`, `required`,
/// `additionalProperties: false`, `items`, `enum`, `minimum`, `maximum`, `minItems`, `minLength`, `$ref` to `#/$defs/…`.
package struct JSONSchema: Sendable {
    private let root: JSONValue

    package init(_ root: JSONValue) { self.root = root }

    /// One line for each thing that is wrong, with where; empty if the value is valid.
    package func problems(in value: JSONValue) -> [String] {
        check(value, root, at: "")
    }

    private func check(_ value: JSONValue, _ schema: JSONValue, at path: String) -> [String] {
        let schema = resolve(schema)
        let here = path.isEmpty ? "the input" : path
        if let types = typeNames(schema), !types.contains(where: { matches(value, $0) }) {
            return ["\(here) must be \(types.joined(separator: " or "))"]
        }
        var problems: [String] = []
        if let allowed = schema["enum"]?.array, !allowed.contains(value) {
            problems.append("\(here) must be one of \(allowed.compactMap(\.string).joined(separator: ", "))")
        }
        switch value {
        case .object(let members): problems += check(members, schema, at: path)
        case .array(let items):
            if let least = schema["minItems"]?.integer, items.count < least {
                problems.append("\(here) needs \(least) or more items")
            }
            if let itemSchema = schema["items"] {
                problems += items.enumerated().flatMap { check($1, itemSchema, at: "\(path)[\($0)]") }
            }
        case .integer(let number):
            if let least = schema["minimum"]?.integer, number < least { problems.append("\(here) must be at least \(least)") }
            if let most = schema["maximum"]?.integer, number > most { problems.append("\(here) must be at most \(most)") }
        case .string(let text):
            if let least = schema["minLength"]?.integer, text.unicodeScalars.count < least {
                problems.append("\(here) is too short")
            }
        case .null, .bool, .number: break
        }
        return problems
    }

    private func check(_ members: [String: JSONValue], _ schema: JSONValue, at path: String) -> [String] {
        let prefix = path.isEmpty ? "" : path + "."
        var problems = (schema["required"]?.array ?? []).compactMap(\.string)
            .filter { members[$0] == nil }.map { "\(prefix)\($0) is missing" }
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
            if let property = schema["properties"]?[name] {
                problems += check(member, property, at: prefix + name)
            } else if schema["additionalProperties"] == false {
                problems.append("\(prefix)\(name) is not known")
            }
        }
        return problems
    }

    private func resolve(_ schema: JSONValue) -> JSONValue {
        guard let reference = schema["$ref"]?.string, reference.hasPrefix("#/$defs/") else { return schema }
        return root["$defs"]?[String(reference.dropFirst(8))] ?? schema
    }

    private func typeNames(_ schema: JSONValue) -> [String]? {
        schema["type"]?.string.map { [$0] } ?? schema["type"]?.array?.compactMap(\.string)
    }

    private func matches(_ value: JSONValue, _ type: String) -> Bool {
        switch (value, type) {
        case (.null, "null"), (.bool, "boolean"), (.integer, "integer"), (.integer, "number"), (.number, "number"),
            (.string, "string"), (.array, "array"), (.object, "object"):
            true
        default: false
        }
    }
}
