import AutonKit
import AutonMessages
import SystemPackage

/// What the loop goes by: the plans' first attempts, and their graph. A kill may come between a plan and these.
extension Mailbox {
    private static let graph = "graph.mk"

    /// Files the first attempts at what is planned, and the graph of all plans. Doing it again completes what a kill cut short.
    func publish() throws {
        let board = try TaskBoard(self)
        try fileAll(board.tasks.map(TaskMessage.init))
        try replace(Self.graph, Self.fragment(of: board))
    }

    /// The last plan if something of the plans is not published; nil if all is, or there is no plan.
    func unpublishedPlan() throws -> Plan? {
        let plans = try all(Plan.self), board = TaskBoard(self, plans: plans), graph = root.appending(Self.graph)
        let isPublished =
            try board.tasks.allSatisfy { has(.task, AttemptID(task: $0.id, attempt: 1).description) } && Files.exists(graph)
            && Files.read(graph) == Self.fragment(of: board)
        return isPublished ? nil : plans.max { $0.number < $1.number }
    }

    private static func fragment(of board: TaskBoard) -> [UInt8] { Array(PlanGraph(startable: board).makeFragment.utf8) }
}
