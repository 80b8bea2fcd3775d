import AutonModel

/// The part of a tool's schema that the API can hold a model to. What it cannot (lengths, ranges) is left out of what
/// is sent; the agent loop checks a call against the whole schema in any case.
enum StrictSchema {
    private static let unsupported: Set<String> = [
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
        "uniqueItems",
    ]

    /// - Returns: nil if an object in it may have any members: such a tool cannot be strict.
    static func of(_ schema: JSONValue) -> JSONValue? {
        guard case .object(var members) = schema else { return schema }
        if schema["type"] == "object" && schema["additionalProperties"] != false { return nil }
        members = members.filter { !unsupported.contains($0.key) }
        if (members["minItems"]?.integer ?? 0) > 1 { members["minItems"] = 1 }
        for (key, value) in members {
            switch (key, value) {
            case ("properties", .object(let named)), ("$defs", .object(let named)):
                let strict = named.compactMapValues { of($0) }
                if strict.count < named.count { return nil }
                members[key] = .object(strict)
            case ("items", _):
                guard let strict = of(value) else { return nil }
                members[key] = strict
            default: break
            }
        }
        return .object(members)
    }
}
