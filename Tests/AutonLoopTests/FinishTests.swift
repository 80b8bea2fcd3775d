import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// What the text of a change alone shows is told when it is handed in, and costs no attempt.
@Suite struct FinishTests {
    @Test func whatTheRulesRefuseIsNotHandedIn() async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        try await run.planOneTask()
        func answer(_ turn: Int, _ code: String) throws {
            let write: (name: String, input: JSONValue) = ("write", ["path": "lib/work.c", "content": .string(code)])
            try run.answer("lib-001.1.\(turn)", reply(write, ("finish", ["summary": "done"])))
        }
        let good = "int work(void);\nint work(void) { return 1; }\n"
        try answer(1, good + "__asm__(\".set a, b\");\n#include \"../lib/other.c\"\n")
        try answer(2, good)
        #expect(try await run.auton("agent", "lib-001").status == 0)

        let candidate = try mailbox.get(Candidate.self, "lib-001.1")
        #expect(candidate.outcome == .finished && candidate.provenance.turns == 2)
        let turns = try Transcript(reading: mailbox.transcript("lib-001.1")).requests
        let refusal = try #require(turns[1].flatMap(\.toolResults).last).content
        #expect(refusal.hasPrefix("Not handed in, since the gate would refuse it:\n- "))
        #expect(refusal.contains("\n- disguise: lib/work.c: ") && refusal.contains("- reserved: lib/work.c: "), "\(refusal)")
        #expect(try await run.auton("validate", "lib-001").status == 0)
    }

    /// Who cannot do it says why, and the next one is told.
    @Test(arguments: [true, false])
    func whatStandsInTheWayIsHandedOn(_ atOnce: Bool) async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        try await run.planOneTask()
        let obstacle = "The header lib/work.h is missing,\nand I may not write it."
        let replies =
            atOnce
            ? [reply(("finish", ["summary": "nothing done", "obstacle": .string(obstacle)]))]
            : Array(repeating: reply(text: obstacle, stopReason: "end_turn"), count: 3)
        for (index, reply) in replies.enumerated() { try run.answer("lib-001.1.\(index + 1)", reply) }
        let reason = atOnce ? "the task cannot be done as it is told" : "three turns without a tool call"
        #expect(
            try await run.auton("agent", "lib-001").errors == "auton-agent: lib-001.1 is not finished: \(reason)\n")
        #expect(try mailbox.get(Candidate.self, "lib-001.1").outcome == .gaveUp)
        #expect(try await run.auton("validate", "lib-001").status == 1)

        let told = try #require(mailbox.get(TaskMessage.self, "lib-001.2").reasons.first)
        #expect(
            told.details == ["finished: the agent gave up", reason, "Its last words:"]
                + obstacle.split(separator: "\n").map(String.init))
    }
}
