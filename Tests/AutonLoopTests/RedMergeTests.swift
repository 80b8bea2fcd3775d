import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// Two candidates that are each right alone and cannot be on main together, though git merges them without a conflict.
@Suite struct RedMergeTests {
    private static let one = "int counter(void);\n\nint counter(void)\n{\n\treturn 1;\n}\n"
    private static let two = "int counter(void);\n\nint counter(void)\n{\n\treturn 2;\n}\n"
    private static let other = "int other_counter(void);\n\nint other_counter(void)\n{\n\treturn 2;\n}\n"

    private func answer(_ turn: String, _ reply: MessagesResponse, in run: LoopRun) throws {
        try run.directory.write("input/answers/\(turn).json", String(decoding: CompactJSON.encode(reply), as: UTF8.self))
    }

    private func work(_ file: String, _ content: String) -> MessagesResponse {
        reply(("write", ["path": .string(file), "content": .string(content)]), ("finish", ["summary": "done"]))
    }

    private func prepared() async throws -> LoopRun {
        let run = try LoopRun()
        let approval = reply(("submit_review", ["decision": "approve", "summary": "right"]))
        for (turn, response) in [
            ("lib-001.1.1", work("lib/one.c", Self.one)), ("lib-002.1.1", work("lib/two.c", Self.two)),
            ("lib-002.2.1", work("lib/two.c", Self.other)), ("lib-001.1.review.1", approval), ("lib-002.1.review.1", approval),
            ("lib-002.2.review.1", approval),
        ] {
            try answer(turn, response, in: run)
        }
        let tasks = ["one", "two"].enumerated().map { number, name in
            """
            {"id": "lib-00\(number + 1)", "title": "\(name)", "role": "developer", "subsystem": "lib", "description": "count",
             "paths": ["lib/\(name).c"], "depends": [], "accept": ["harness.*"]}
            """
        }
        try run.directory.write("plan.json", "{\"tasks\": [\(tasks.joined(separator: ","))]}")
        #expect(try await run.auton("plan", "--from", "plan.json").status == 0)
        for task in ["lib-001", "lib-002"] {
            for arguments in [["agent", task], ["validate", task], ["agent", "--role", "reviewer", task]] {
                #expect(try await run.auton(arguments).status == 0)
            }
        }
        return run
    }

    @Test func mainStaysAndTheTaskIsTold() async throws {
        let run = try await prepared()
        #expect(try await run.auton("merge", "lib-001").status == 0)
        let git = Git(directory: run.directory["workspace/.git"])
        let main = try await git.commit("main")
        let outcome = try await run.auton("merge", "lib-002")
        #expect(outcome == Outcome(status: 1, errors: "auton-merge: lib-002.1 cannot be merged; lib-002.2 is filed\n"))
        #expect(try await git.commit("main") == main)
        let next = try Mailbox(run.directory["mailbox"]).get(TaskMessage.self, "lib-002.2")
        let reason = try #require(next.reasons.first)
        #expect(reason.stage == .merge && reason.summary.hasPrefix("the merge with main fails: build:"))
        #expect(reason.details.contains { $0.contains("multiple definition of `counter'") })
        // The next attempt lands, and the loop merges nothing twice.
        #expect(try await run.auton("run").status == 0)
        #expect(try await git.run("log", "--first-parent", "--format=%s", "main").split(separator: "\n").count == 3)
    }

    /// A kill after main was moved and before the message was filed: nothing is merged twice, and the message comes.
    @Test func aMergeWithoutItsMessageIsFound() async throws {
        let run = try await prepared()
        let first = try await run.auton("merge", "lib-001")
        let message = try run.directory.read("mailbox/merge/lib-001.json")
        try Files.removeTree(run.directory["mailbox/merge/lib-001.json"])
        #expect(try await run.auton("merge", "lib-001") == first)
        #expect(try run.directory.read("mailbox/merge/lib-001.json") == message)
    }
}
