import AutonModel
import Testing

@Suite struct JSONSchemaTests {
    private let schema = JSONSchema([
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": [
            "name": ["type": "string", "minLength": 2],
            "count": ["type": "integer", "minimum": 1, "maximum": 9],
            "ratio": ["type": "number"],
            "on": ["type": "boolean"],
            "word": ["type": "string", "enum": ["yes", "no"]],
            "maybe": ["type": ["string", "null"]],
            "list": ["type": "array", "minItems": 1, "items": ["type": "integer"]],
            "open": ["type": "object"],
            "nested": [
                "type": "array",
                "items": ["type": "object", "required": ["a", "b"], "properties": ["a": ["$ref": "#/$defs/small"], "b": [:]]],
            ],
        ],
        "$defs": ["small": ["type": "integer", "maximum": 3]],
    ])

    @Test(
        arguments: [
            ["name": "ok"], ["name": "é́é́"], ["name": "ok", "count": 1], ["name": "ok", "count": 9], ["name": "ok", "ratio": 1],
            ["name": "ok", "ratio": .number(1.5)], ["name": "ok", "on": false, "word": "no", "maybe": .null],
            ["name": "ok", "maybe": "x", "list": [1, 2], "open": ["any": [.null]], "nested": []],
            ["name": "ok", "nested": [["a": 3, "b": "anything", "c": true]]],
        ] as [JSONValue])
    func accepts(_ value: JSONValue) {
        #expect(schema.problems(in: value) == [])
    }

    @Test(
        arguments: [
            ([:], ["name is missing"]),
            ("text", ["the input must be object"]),
            (["name": .null], ["name must be string"]),
            (["name": "x"], ["name is too short"]),
            (["name": "ok", "count": 0], ["count must be at least 1"]),
            (["name": "ok", "count": 10], ["count must be at most 9"]),
            (["name": "ok", "count": "1"], ["count must be integer"]),
            (["name": "ok", "count": .number(1.5)], ["count must be integer"]),
            (["name": "ok", "on": 1], ["on must be boolean"]),
            (["name": "ok", "ratio": "1"], ["ratio must be number"]),
            (["name": "ok", "word": "maybe"], ["word must be one of yes, no"]),
            (["name": "ok", "maybe": 1], ["maybe must be string or null"]),
            (["name": "ok", "list": []], ["list needs 1 or more items"]),
            (["name": "ok", "list": [1, "2", 3, .null]], ["list[1] must be integer", "list[3] must be integer"]),
            (["name": "ok", "open": []], ["open must be object"]),
            (["name": "ok", "extra": 1, "more": 2], ["extra is not known", "more is not known"]),
            (
                ["name": "ok", "nested": [["b": 1], ["a": 4]]],
                ["nested[0].a is missing", "nested[1].b is missing", "nested[1].a must be at most 3"]
            ),
        ] as [(JSONValue, [String])])
    func refuses(value: JSONValue, problems: [String]) {
        #expect(schema.problems(in: value) == problems)
    }

    @Test(arguments: [
        "null", "true", "7", "-9223372036854775808", "1.5", "\"a/b\\n\\\"é\\u2028\"", "[]", "[1,[2]]",
        #"{"a":{"b":[]},"c":null}"#,
    ])
    func jsonIsKeptAsItIs(_ text: String) throws {
        let value = try CompactJSON.decode(JSONValue.self, from: Array(text.utf8), at: "test")
        let again = try CompactJSON.decode(JSONValue.self, from: CompactJSON.encode(value), at: "test")
        #expect(again == value)
        if !text.contains("\\u") { #expect(try String(decoding: CompactJSON.encode(value), as: UTF8.self) == text) }
    }
}
