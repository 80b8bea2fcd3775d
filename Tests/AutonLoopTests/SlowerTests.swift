import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// A benchmark that gets slower, from its author's finish through the gate and the reviewer to main.
@Suite struct SlowerTests {
    private static func work(_ instructions: Int) -> String {
        """
        #include "harness.h"

        void work(void);
        void work(void)
        {
        \t__asm__ volatile(".rept \(instructions); nop; .endr");
        }

        KBENCH(lib, work)
        {
        \tfor (uint64_t i = 0; i < n; i++)
        \t\twork();
        }

        """
    }

    @Test func whoSaysWhyIsHeard() async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        func write(_ instructions: Int) -> (name: String, input: JSONValue) {
            ("write", ["path": "lib/work.c", "content": .string(Self.work(instructions))])
        }
        let why = "Every page is cleared now, as the spec asks."
        let approval = reply(("submit_review", ["decision": "approve", "summary": "right"]))
        try run.answer("lib-001.1.1", reply(write(100), ("finish", ["summary": "done"])))
        try run.answer("lib-001.1.review.1", approval)
        try run.answer("lib-002.1.1", reply(write(120), ("finish", ["summary": "done"])))
        let justified: JSONValue = ["summary": "done", "slower": [["bench": "lib.work", "why": .string(why)]]]
        try run.answer("lib-002.2.1", reply(write(120), ("finish", justified)))
        try run.answer("lib-002.2.review.1", approval)
        let tasks = [("lib-001", "[]"), ("lib-002", "[\"lib-001\"]")].map { id, depends in
            """
            {"id": "\(id)", "title": "work", "role": "developer", "subsystem": "lib", "description": "work",
             "paths": ["lib/work.c"], "depends": \(depends), "accept": ["harness.*"]}
            """
        }
        try run.directory.write("plan.json", "{\"tasks\": [\(tasks.joined(separator: ","))]}")
        func step(_ arguments: String...) async throws -> Int32 { try await run.auton(arguments).status }
        for arguments in [
            ["plan", "--from", "plan.json"], ["agent", "lib-001"], ["validate", "lib-001"],
            ["agent", "--role", "reviewer", "lib-001"],
            ["merge", "lib-001"], ["agent", "lib-002"],
        ] {
            #expect(try await run.auton(arguments).status == 0, "\(arguments)")
        }

        #expect(try await step("validate", "lib-002") == 1)
        let reason = try #require(try mailbox.get(TaskMessage.self, "lib-002.2").reasons.first)
        #expect(reason.summary.hasPrefix("speed: lib.work: 12"))
        #expect(reason.summary.contains(" instructions, 10"))
        #expect(reason.summary.hasSuffix("%), over 5%"))

        #expect(try await step("agent", "lib-002") == 0)
        #expect(try mailbox.get(Candidate.self, "lib-002.2").slower == [Justification(bench: "lib.work", why: why)])
        #expect(try await step("validate", "lib-002") == 0)
        let count = try #require(try mailbox.get(Verdict.self, "lib-002.2").counters?.benches.first)
        #expect(try await step("agent", "--role", "reviewer", "lib-002") == 0)
        let review = try Transcript(reading: mailbox.transcript("lib-002.2.review")).requests[0].flatMap(\.content)
        guard case .text(let text)? = review.first else {
            Issue.record("no text")
            return
        }
        #expect(
            text.contains("lib.work (\(count.instructions) instructions for 1000 iterations, \(count.base ?? 0) on main): \(why)")
        )
        #expect(try await step("merge", "lib-002") == 0)
    }
}
