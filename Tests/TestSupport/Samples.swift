import AutonKit
import AutonMessages
import AutonModel

/// A task as a plan has it.
package func plannedTask(_ id: String, _ title: String = "Do it", after: [String] = [], path: String = "boot/") -> PlannedTask {
    PlannedTask(
        id: id, title: title, role: .developer, subsystem: "boot", description: "All of it.", paths: [path], depends: after,
        accept: ["boot.*"])
}

/// A model's turn that calls tools.
package func reply(
    _ calls: (name: String, input: JSONValue)..., text: String? = nil, stopReason: String = "tool_use"
) -> MessagesResponse {
    let uses = calls.enumerated().map { ContentBlock.toolUse(ToolUse(id: "call-\($0 + 1)", name: $1.name, input: $1.input)) }
    return MessagesResponse(
        id: "msg", model: "scripted", content: (text.map { [.text($0)] } ?? []) + uses, stopReason: stopReason,
        usage: MessagesResponse.Usage(inputTokens: 100, outputTokens: 10))
}

/// What a test wants to know of an error: its status and what it says.
package func failure<T>(of body: () async throws -> T) async -> AutonError? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? AutonError ?? AutonError(.bug, "not an AutonError: \(error)")
    }
}
