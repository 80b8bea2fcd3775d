import AutonAgents
import AutonModel

/// Ends the work on a task, unless the gate would refuse the change for what its text alone shows.
struct Finish: AgentTool {
    /// What the diff rules say of the work tree as it is; empty if nothing.
    let refusals: @Sendable () async throws -> [String]

    let definition = Tool(
        "finish", "Hand in the work tree as it is. Counts only if every call before it in the same reply succeeded.",
        [
            "summary": [
                "type": "string", "minLength": 1, "description": "What you did and what a reviewer should know, in a few lines.",
            ],
            "slower": [
                "type": "array",
                "description":
                    "Only if the task makes benchmarks slower than they are on main: each of them, and why that is right. The reviewer decides.",
                "items": [
                    "type": "object", "additionalProperties": false, "required": ["bench", "why"],
                    "properties": [
                        "bench": ["type": "string", "minLength": 1, "description": "Its name, such as mm.frame_alloc_free."],
                        "why": ["type": "string", "minLength": 1],
                    ],
                ],
            ],
            "obstacle": [
                "type": "string", "minLength": 1,
                "description":
                    "Only if the task cannot be done as it is told: what stands in its way, for who tries next or plans anew. The attempt then counts as given up.",
            ],
        ], optional: ["slower", "obstacle"])

    func call(_ input: JSONValue) async throws -> ToolOutput {
        if input["obstacle"] != nil { return .ok("given up") }
        let refusals = try await refusals()
        return refusals.isEmpty
            ? .ok("handed in")
            : .error("Not handed in, since the gate would refuse it:\n" + refusals.map { "- \($0)" }.joined(separator: "\n"))
    }
}

/// Ends a review.
struct SubmitReview: AgentTool {
    let definition = Tool(
        "submit_review", "Hand in the review.",
        [
            "decision": ["type": "string", "enum": ["approve", "changes-requested"]],
            "summary": ["type": "string", "minLength": 1],
            "comments": [
                "type": "array",
                "items": [
                    "type": "object", "additionalProperties": false, "required": ["file", "line", "text"],
                    "properties": [
                        "file": ["type": "string"],
                        "line": [
                            "type": "integer", "minimum": 0,
                            "description": "In the candidate's version; 0 speaks of the whole file.",
                        ],
                        "text": ["type": "string", "minLength": 1],
                    ],
                ],
            ],
        ], optional: ["comments"])

    func call(_ input: JSONValue) -> ToolOutput {
        input["decision"] == "changes-requested" && (input["comments"]?.array ?? []).isEmpty
            ? .error("Changes need at least one comment that says where and what.") : .ok("handed in")
    }
}
