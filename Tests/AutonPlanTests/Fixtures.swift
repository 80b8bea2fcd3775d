import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport

/// A place to run the real auton-plan in: a kernel tree, a mailbox, a workspace, and a model that reads its replies from files.
struct Scene: Sendable {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        _ = try KernelTree.make(at: directory)
        // Files its request and gives the reply that lies ready for the turn.
        try directory.write(
            "model",
            """
            cat >"$1/request.$AUTON_CONVERSATION.$AUTON_TURN"
            cat "$1/reply.$AUTON_CONVERSATION.$AUTON_TURN" 2>/dev/null || { echo "no reply" >&2; exit 1; }
            """)
    }

    var environment: [String: String] {
        [
            "AUTON_MAILBOX": directory["mailbox"].string, "AUTON_WORKSPACE": directory["workspace"].string,
            "AUTON_KERNEL": directory["kernel"].string, "AUTON_PROMPTS": Program.package.appending("prompts").string,
            "AUTON_RUNS": directory["runs"].string, "AUTON_MODEL": "exec:sh \(directory["model"]) \(directory.path)",
        ]
    }

    var mailbox: Mailbox { Mailbox(directory["mailbox"]) }

    func plan(_ arguments: String..., input: String = "", environment more: [String: String] = [:]) async throws -> Outcome {
        try await Program.run("auton-plan", arguments, input: input, environment: environment.merging(more) { _, new in new })
    }

    /// A plan in a file.
    @discardableResult
    func write(
        _ tasks: [PlannedTask], to name: String = "plan.json", goal: String = "by hand", amendments: [Amendment]? = nil
    ) throws -> String {
        struct Draft: Codable { var goal: String, tasks: [PlannedTask], amendments: [Amendment]? }
        let bytes = try CompactJSON.encode(Draft(goal: goal, tasks: tasks, amendments: amendments))
        return try directory.write(name, String(decoding: bytes, as: UTF8.self)).string
    }

    func prepareReply(_ conversation: String, _ turn: Int, _ response: MessagesResponse) throws {
        try directory.write("reply.\(conversation).\(turn)", String(decoding: CompactJSON.encode(response), as: UTF8.self))
    }

    func prepareReply(_ conversation: String, _ turn: Int, plan: [PlannedTask], amendments: [Amendment]? = nil) throws {
        struct Draft: Codable { var tasks: [PlannedTask], amendments: [Amendment]? }
        let bytes = try CompactJSON.encode(Draft(tasks: plan, amendments: amendments))
        let input = try CompactJSON.decode(JSONValue.self, from: bytes, at: "test")
        try prepareReply(conversation, turn, reply(("submit_plan", input)))
    }

    /// What was new in the request of a turn.
    func news(_ conversation: String, _ turn: Int) throws -> String {
        let path = directory["request.\(conversation).\(turn)"]
        let request = try CompactJSON.decode(MessagesRequest.self, from: Files.read(path), at: path.string)
        return request.news.flatMap(\.content).map { block in
            switch block {
            case .text(let text): text
            case .toolResult(let result): result.content
            default: "?"
            }
        }.joined(separator: "\n")
    }

    var wasAsked: [String] { ((try? Files.list(directory.path)) ?? []).filter { $0.hasPrefix("request.") } }

    /// All that is filed, by path; what a crash may leave is not.
    func filed() throws -> [String: String] {
        try directory.contents(of: "mailbox").filter { !$0.key.hasPrefix("tmp/") }
    }
}

/// b needs a, c needs both; told in another order.
let threeTasks = [
    plannedTask("boot-b", "B \"quoted\"", after: ["boot-a"]), plannedTask("boot-a", "A"),
    plannedTask("boot-c", "C", after: ["boot-a", "boot-b"], path: "boot/c.c"),
]
