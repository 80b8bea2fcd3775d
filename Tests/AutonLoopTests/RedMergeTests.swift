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

    private func work(_ file: String, _ content: String) -> MessagesResponse {
        reply(("write", ["path": .string(file), "content": .string(content)]), ("finish", ["summary": "done"]))
    }

    private func prepared() async throws -> LoopRun {
        let run = try await LoopRun()
        let approval = reply(("submit_review", ["decision": "approve", "summary": "right"]))
        for (turn, response) in [
            ("lib-001.1.1", work("lib/one.c", Self.one)), ("lib-002.1.1", work("lib/two.c", Self.two)),
            ("lib-002.2.1", work("lib/two.c", Self.other)), ("lib-001.1.review.1", approval), ("lib-002.1.review.1", approval),
            ("lib-002.2.review.1", approval),
        ] {
            try run.answer(turn, response)
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
        let merged = try await run.auton("merge", "--json", "lib-001")
        #expect(try merged.status == 0 && merged.output == run.directory.read("mailbox/merge/lib-001.json"))
        let git = Git(directory: run.directory["workspace/.git"])
        let main = try await git.commit("main")
        let outcome = try await run.auton("merge", "lib-002")
        #expect(outcome.status == 1 && outcome.output.isEmpty)
        #expect(
            outcome.errors.wholeMatch(
                of: /auton-merge: lib-002.1 cannot be merged: the merge with main fails: build: .*; lib-002.2 is filed\n/) != nil,
            "\(outcome.errors)")
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
        func message() throws -> Merge {
            var merge = try Mailbox(run.directory["mailbox"]).get(Merge.self, "lib-001")
            for index in merge.boots?.indices ?? 0..<0 { merge.boots?[index].seconds = 0 }
            return merge
        }
        let filed = try message()
        try Files.removeTree(run.directory["mailbox/merge/lib-001.json"])
        #expect(try await run.auton("merge", "lib-001") == first)
        #expect(try message() == filed)
    }

    /// Nobody comes back for a task that is merged: the workspace's own checkout is up to main by then.
    @Test func aMergeIsFiledOnceTheCheckoutHasIt() async throws {
        let run = try await prepared(), mailbox = Mailbox(run.directory["mailbox"])
        // Git leaves alone what it does not know.
        try run.directory.write("workspace/lib/one.c", "mine\n")
        let outcome = try await run.auton("merge", "lib-001")
        #expect(outcome.status == ExitStatus.tryAgain.rawValue)
        #expect(outcome.errors.contains("local changes are in the way"), "\(outcome.errors)")
        #expect(!mailbox.has(.merge, "lib-001"))
        try Files.removeTree(run.directory["workspace/lib"])
        #expect(try await run.auton("merge", "lib-001").status == 0)
        #expect(mailbox.has(.merge, "lib-001"))
        #expect(try run.directory.read("workspace/lib/one.c") == Self.one)
    }

    /// Main boots on every machine that there is; what cannot be booted is told.
    @Test func aMergeIsBootedOnAllMachines() async throws {
        let run = try await prepared()
        let outcome = try await run.auton("merge", "lib-001", "--set", "gate.merge_boots=all")
        let merge = try Mailbox(run.directory["mailbox"]).get(Merge.self, "lib-001")
        #expect(merge.boots?.map(\.name) == ["pvh", "pvh-smp4", "pvh-64m", "pvh-4g", "disk", "iso"])
        #expect(merge.boots?.map(\.outcome) == [.passed, .passed, .passed, .passed, .skipped, .skipped])
        #expect(
            outcome.errors
                == "auton-merge: lib-001 is merged without a boot of disk (the tree has no boot/disk sources), iso (the tree has no Multiboot2 header)\n"
        )
        #expect(try Mailbox(run.directory["mailbox"]).get(Verdict.self, "lib-001.1").boots?.map(\.name) == ["pvh"])
    }

    /// A path that was begun and does not work yet must not get to main.
    @Test func aPathThatDoesNotBootIsNotMerged() async throws {
        let run = try await LoopRun()
        let sources = ["mbr": "times 510 hlt\ndw 0xAA55\n", "loader": "hlt\n"]
        let write = sources.sorted { $0.key < $1.key }.map { name, text in
            (name: "write", input: ["path": .string("boot/disk/\(name).asm"), "content": .string(text)] as JSONValue)
        }
        try run.answer("boot-001.1.1", reply(write[0], write[1], ("finish", ["summary": "done"])))
        try run.answer("boot-001.1.review.1", reply(("submit_review", ["decision": "approve", "summary": "right"])))
        try run.directory.write(
            "plan.json",
            """
            {"tasks": [{"id": "boot-001", "title": "disk", "role": "developer", "subsystem": "boot", "description": "boot",
              "paths": ["boot/disk/"], "depends": [], "accept": ["harness.*"]}]}
            """)
        for arguments in [
            ["plan", "--from", "plan.json"], ["agent", "boot-001"], ["validate", "boot-001"],
            ["agent", "--role", "reviewer", "boot-001"],
        ] {
            #expect(try await run.auton(arguments).status == 0)
        }
        #expect(
            try await run.auton("merge", "boot-001", "--set", "sandbox.boot_seconds=3", "--set", "gate.merge_boots=all").status
                == 1)
        let next = try Mailbox(run.directory["mailbox"]).get(TaskMessage.self, "boot-001.2")
        #expect(next.reasons.first?.summary == "the merge with main fails: boots: disk: nothing printed within 3 s")
    }
}
