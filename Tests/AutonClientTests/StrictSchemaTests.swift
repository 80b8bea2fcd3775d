import AutonModel
import Testing

@testable import AutonClient

@Suite struct StrictSchemaTests {
    @Test func whatTheAPICannotHoldIsLeftOut() {
        let schema: JSONValue = [
            "type": "object", "additionalProperties": false, "required": ["n"],
            "properties": [
                "n": ["type": "integer", "minimum": 1, "maximum": 9],
                "minLength": ["type": "string", "minLength": 1, "enum": ["a"]],
                "list": ["type": "array", "minItems": 2, "maxItems": 3, "items": ["$ref": "#/$defs/d"]],
                "some": ["type": "array", "minItems": 1],
            ],
            "$defs": ["d": ["type": "object", "additionalProperties": false, "properties": ["x": ["multipleOf": 2]]]],
        ]
        #expect(
            StrictSchema.of(schema) == [
                "type": "object", "additionalProperties": false, "required": ["n"],
                "properties": [
                    "n": ["type": "integer"], "minLength": ["type": "string", "enum": ["a"]],
                    "list": ["type": "array", "minItems": 1, "items": ["$ref": "#/$defs/d"]],
                    "some": ["type": "array", "minItems": 1],
                ],
                "$defs": ["d": ["type": "object", "additionalProperties": false, "properties": ["x": [:]]]],
            ])
    }

    @Test(
        arguments: [
            ["type": "object"],
            ["type": "object", "additionalProperties": false, "properties": ["a": ["type": "object"]]],
            ["type": "array", "items": ["type": "object", "additionalProperties": true]],
        ] as [JSONValue])
    func anOpenObjectCannotBeStrict(schema: JSONValue) {
        #expect(StrictSchema.of(schema) == nil)
    }
}
