import AutonAgents
import AutonKit
import AutonMessages
import AutonModel
import FoundationEssentials

/// What the Manager hands in: new tasks, and, in a re-plan, what becomes of the blocked ones.
struct PlanDraft: Codable {
    var tasks: [PlannedTask]
    var amendments: [Amendment]?
}

/// The Manager's last plan did not hold either.
struct PlanRefused: Error { var reason: String }

/// The tool that ends the Manager's conversation. A plan that does not hold goes back with the reasons, a bounded
/// number of times.
final class SubmitPlan: AgentTool, @unchecked Sendable {
    private let check: (PlanDraft) -> [String]
    private let isReplan: Bool
    private var refusals = 0
    private static let maxRefusals = 4

    init(replan: Bool, check: @escaping (PlanDraft) -> [String]) {
        self.check = check
        isReplan = replan
    }

    var definition: Tool {
        Tool(
            "submit_plan", "Hand in the plan. It is checked; if it does not hold, you get the reasons and hand in a better one.",
            isReplan ? ["tasks": Self.tasks, "amendments": Self.amendments] : ["tasks": Self.tasks])
    }

    func call(_ input: JSONValue) throws -> ToolOutput {
        let problems = check(try Self.draft(from: input))
        if problems.isEmpty { return .ok("accepted") }
        refusals += 1
        guard refusals < Self.maxRefusals else {
            throw PlanRefused(
                reason: "what it handed in was refused \(refusals) times, last because: \(problems.joined(separator: "; "))")
        }
        return .error("The plan does not hold:\n" + problems.map { "- \($0)" }.joined(separator: "\n"))
    }

    static func draft(from input: JSONValue) throws -> PlanDraft {
        try CompactJSON.decode(PlanDraft.self, from: CompactJSON.encode(input), at: "submit_plan")
    }

    /// What is not as the tool's input must be, in a plan written by hand, which may say more.
    static func slips(in plan: JSONValue) -> [String] {
        JSONSchema([
            "type": "object", "required": ["tasks"],
            "properties": ["goal": ["type": "string"], "tasks": tasks, "amendments": amendments],
        ]).problems(in: plan)
    }

    private static func list(_ description: String) -> JSONValue {
        ["type": "array", "items": ["type": "string"], "description": .string(description)]
    }

    private static let tasks: JSONValue = [
        "type": "array",
        "items": [
            "type": "object", "additionalProperties": false,
            "required": ["id", "title", "role", "subsystem", "description", "paths", "depends", "accept"],
            "properties": [
                "id": ["type": "string", "description": "Such as boot-002: lower-case, unique in the project."],
                "title": ["type": "string", "minLength": 1, "description": "One line."],
                "role": ["type": "string", "enum": ["architect", "developer", "tester"]],
                "subsystem": [
                    "type": "string",
                    "description": "The directory it is about: boot, mm, sched, ipc, nl, hv, llm, drivers or lib.",
                ],
                "description": [
                    "type": "string", "minLength": 1,
                    "description": "All that the agent must know: what, which spec pages, which interfaces.",
                ],
                "paths": list("Files, and directories ending in /, that it may write."),
                "depends": list("Ids of the tasks that must be merged before it starts."),
                "accept": list("Booted tests that must pass, * as a wildcard: boot.*"),
            ],
        ],
    ]

    private static let amendments: JSONValue = [
        "type": "array",
        "description":
            "One for each blocked task, and for what was to come after it if that is no longer wanted as it is planned.",
        "items": [
            "type": "object", "additionalProperties": false, "required": ["task", "replacements", "reason"],
            "properties": [
                "task": ["type": "string"],
                "replacements": list("Ids of the new tasks in its place; none: it is dropped."),
                "reason": ["type": "string", "minLength": 1],
            ],
        ],
    ]
}
