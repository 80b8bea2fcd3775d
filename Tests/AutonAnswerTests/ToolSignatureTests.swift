import AutonModel
import Testing

@testable import auton_answer

@Suite struct ToolSignatureTests {
    @Test(arguments: [
        ("list", "list [path:string]"),
        ("write", "write path:string content:string"),
        ("edit", "edit path:string old:string new:string"),
        ("shell", "shell script:string [seconds:integer(1…300)]"),
        ("test", "test [suites:[string]] [bench:boolean]"),
        (
            "review",
            "review verdict:approve|changes-requested summary:string comments:[{line?: integer, path: string, text: string}]"
        ),
    ])
    func ordersInputsAsOneWouldSayThem(name: String, line: String) {
        #expect(ToolSignature(tool(name)).line == line)
    }

    @Test func tellsWhatTheSchemaSaysOfPartsToo() {
        let schema: JSONValue = [
            "type": "object",
            "properties": [
                "comments": [
                    "type": "array", "description": "By line.",
                    "items": [
                        "type": "object", "properties": ["line": ["type": "integer", "description": "0 is the whole file."]],
                    ],
                ]
            ],
        ]
        let signature = ToolSignature(Tool(name: "t", description: "", inputSchema: schema))
        #expect(signature.remarks == ["comments: By line.", "comments[].line: 0 is the whole file."])
    }

    @Test func survivesSchemasThatMakeNoSense() {
        let schemas: [JSONValue] = [
            [:], 3, ["properties": 4, "required": "x"],
            ["properties": ["a": ["$ref": "#/$defs/a"]], "$defs": ["a": ["$ref": "#/$defs/a"]]],
            [
                "properties": ["a": ["$ref": "#/$defs/a"]],
                "$defs": ["a": ["type": "array", "items": ["$ref": "#/$defs/a"]]],
            ],
        ]
        let lines = schemas.map { ToolSignature(Tool(name: "t", description: "", inputSchema: $0)).line }
        #expect(lines == ["t", "t", "t", "t [a:any]", "t [a:[[[[[…]]]]]]"])
    }
}
