import AutonModel

/// What a tool gives back to the model.
package struct ToolOutput: Sendable, Equatable {
    package var text: String
    package var isError: Bool

    package init(text: String, isError: Bool) {
        self.text = text
        self.isError = isError
    }

    package static func ok(_ text: String) -> ToolOutput { ToolOutput(text: text, isError: false) }
    package static func error(_ text: String) -> ToolOutput { ToolOutput(text: text, isError: true) }
}

/// Something that an agent can do.
package protocol AgentTool: Sendable {
    var definition: Tool { get }

    /// - Parameter input: valid by the definition's schema.
    /// - Returns: text that depends on the input and the work tree alone: no times, no paths of this machine.
    /// - Throws: what the model can do nothing about; it ends the program.
    func call(_ input: JSONValue) async throws -> ToolOutput
}

extension Tool {
    /// A tool whose input is an object of `properties`, of which those named in `optional` may be left out.
    package init(_ name: String, _ description: String, _ properties: [String: JSONValue], optional: Set<String> = []) {
        let required = properties.keys.filter { !optional.contains($0) }.sorted().map(JSONValue.string)
        self.init(
            name: name, description: description,
            inputSchema: [
                "type": "object", "properties": .object(properties), "required": .array(required), "additionalProperties": false,
            ])
    }
}
