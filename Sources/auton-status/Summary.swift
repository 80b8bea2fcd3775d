import AutonKit
import AutonMessages
import AutonModel
import FoundationEssentials

/// The state of the whole run, as the mailbox tells it.
struct Summary: Codable {
    /// What the loop can do next.
    enum Outcome: String, Codable {
        /// Nothing is planned.
        case unplanned
        /// A stage of some task can run.
        case due
        /// Everything is merged.
        case done
        /// What is not merged is blocked, or waits for what is.
        case blocked
    }

    struct Task: Codable {
        var id: String
        var role: Role
        var title: String
        var attempts: Int
        var state: String
    }

    var outcome: Outcome
    var tasks: [Task]
    /// Verdicts that were reached without a sandbox.
    var unsandboxed: Int
    /// Attempts begun, over all tasks.
    var attempts: Int
    var merged: Int
    /// Tasks that a re-plan has put others in the place of, and tasks that it has dropped.
    var replaced: Int
    var dropped: Int
    var usage: TokenUsage
    /// Model turns.
    var turns: Int
    /// Nil if no turn was metered.
    var budget: Budget?

    /// - Parameters:
    ///   - asked: what the mailbox has of it.
    ///   - held: the workspace's locks that somebody holds.
    init(_ mailbox: Mailbox, _ asked: Mailbox.Asked, held: Set<String>, budget: BudgetSummary?) throws {
        self.budget = budget.map(Budget.init)
        let states = try TaskBoard(mailbox, plans: asked.plans).states()
        tasks = states.map { task, state in
            Task(
                id: task.id, role: task.role, title: task.title, attempts: mailbox.latestAttempt(of: task.id),
                state: state.summary(of: task.id, held: held))
        }
        attempts = tasks.reduce(0) { sum, task in
            sum
                + (1...task.attempts).count {
                    Files.exists(mailbox.transcript(AttemptID(task: task.id, attempt: $0).description))
                }
        }
        unsandboxed = try mailbox.all(Verdict.self).count { $0.unsandboxed == true }
        merged = states.count { $0.state == .merged }
        replaced = states.count { if case .replaced = $0.state { true } else { false } }
        dropped = states.count { $0.state == .dropped }
        let conversations =
            asked.plans.compactMap(\.provenance) + asked.candidates.map(\.provenance) + asked.reviews.map(\.provenance)
        usage = conversations.reduce(TokenUsage()) { $0 + $1.usage }
        turns = conversations.reduce(0) { $0 + $1.turns }
        // What came to no plan, candidate or review was asked too, if that was metered.
        if let budget, budget.turns > turns {
            turns = budget.turns
            usage = budget.usage
        }
        let open = states.filter { entry in
            switch entry.state {
            case .merged, .replaced, .dropped: false
            default: true
            }
        }
        let due = open.contains { if case .due = $0.state { true } else { false } }
        outcome = states.isEmpty ? .unplanned : open.isEmpty ? .done : due ? .due : .blocked
    }

    var table: String {
        guard !tasks.isEmpty else { return "nothing is planned" + notes }
        let rows = tasks.map { [$0.id, $0.role.rawValue, String($0.attempts), $0.state, $0.title] }
        return Table.format([["TASK", "ROLE", "ATTEMPT", "STATE", "TITLE"]] + rows) + "\n\n" + totals
    }

    var totals: String {
        "\(merged) of \(tasks.count) tasks merged, \(amended)\(attempts) attempt\(attempts == 1 ? "" : "s"), \(turns) model turns, \(usage.allInput) tokens in, \(usage.output) out"
            + notes
    }

    private var amended: String {
        [(replaced, "replaced"), (dropped, "dropped")].filter { $0.0 > 0 }.map { "\($0.0) \($0.1), " }.joined()
    }

    private var notes: String {
        (unsandboxed > 0 ? "\n\(unsandboxed) of the verdicts WITHOUT A SANDBOX" : "") + (budget.map { "\n\($0.line)" } ?? "")
    }
}

extension Summary {
    static func json(_ summary: Summary) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return String(decoding: try encoder.encode(summary), as: UTF8.self)
    }
}
