/// An agent's conversation that does nothing, for benches: so many calls of `list`, then the call that ends it.
enum NoopTurns {
    static func response(to call: Call, of turns: Int) -> JSON {
        if call.turn <= turns {
            // The same small directory in other words: the same call again would be going round in circles.
            let path = "acceptance/lib" + String(repeating: "/.", count: call.turn)
            return use("list", ["path": .string(path)], in: call)
        }
        let summary: JSON = ["summary": "Nothing was to be done."]
        let names = call.tools.compactMap { $0["name"]?.string }
        if names.contains("submit_review") { return use("submit_review", summary.with("decision", "approve"), in: call) }
        return use("finish", summary, in: call)
    }

    private static func use(_ tool: String, _ input: JSON, in call: Call) -> JSON {
        let id = JSON.string("toolu_noop_\(call.turn)")
        return ["content": [["type": "tool_use", "id": id, "name": .string(tool), "input": input]], "stop_reason": "tool_use"]
    }
}
