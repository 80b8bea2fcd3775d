import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// Reviewers that hand in no review.
@Suite struct UndecidedTests {
    private func answer(_ conversation: String, _ turns: [MessagesResponse], in run: LoopRun) throws {
        for (number, turn) in turns.enumerated() {
            try run.answer("\(conversation).\(number + 1)", turn)
        }
    }

    private static let silent = Array(repeating: reply(text: "Hm.", stopReason: "end_turn"), count: 3)

    private func accepted() async throws -> LoopRun {
        let run = try await LoopRun()
        for arguments in [["plan", "--from", "input/plan.json"], ["agent", "lib-001"], ["validate", "lib-001"]] {
            #expect(try await run.auton(arguments).status == 0)
        }
        try answer("lib-001.1.review", Self.silent, in: run)
        return run
    }

    @Test func anotherOneIsAsked() async throws {
        let run = try await accepted()
        try answer(
            "lib-001.1.review-2", [reply(("submit_review", ["decision": "approve", "summary": "right"]))], in: run)
        #expect(
            try await run.auton("agent", "--role", "reviewer", "lib-001")
                == Outcome(
                    status: 0, output: "approve: right\n",
                    errors: "auton-agent: lib-001.1.review came to no decision: three turns without a tool call: Hm.\n"))
        #expect(try Mailbox(run.directory["mailbox"]).get(Review.self, "lib-001.1").undecided == nil)
    }

    @Test func itsAuthorIsNotAskedAgain() async throws {
        let run = try await accepted(), mailbox = Mailbox(run.directory["mailbox"])
        try answer("lib-001.1.review-2", [reply(text: "No.", stopReason: "refusal")], in: run)
        try answer("lib-001.1.review-3", Self.silent, in: run)
        // The second time by what is filed.
        for _ in 1...2 {
            #expect(try await run.auton("agent", "--role", "reviewer", "lib-001").status == 1)
            #expect(try mailbox.get(Review.self, "lib-001.1").undecided == 3)
            #expect(
                try mailbox.get(Blocked.self, "lib-001").reasons.map(\.summary) == [
                    "none of 3 reviewers came to a decision, the last one: three turns without a tool call: Hm."
                ])
            #expect(!mailbox.has(.task, "lib-001.2"))
            try Files.removeTree(run.directory["mailbox/blocked/lib-001.json"])
        }
    }
}
