import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// A candidate that was judged, reviewed and then lost is made again, as another commit.
@Suite struct LostCandidateTests {
    /// It gets to main by a verdict and a review of its own. The reviewer is asked again only if there is something else to see.
    @Test(arguments: [false, true]) func whatWasSaidOfTheOtherOneDoesNotCount(isAnotherTree: Bool) async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        try await run.planOneTask()
        let word = isAnotherTree ? "$(od -An -N8 -tx1 /dev/urandom)" : "always"
        let command: JSONValue = .string("mkdir lib; echo \"int work; /* \(word) */\" >lib/work.c")
        try run.answer("lib-001.1.1", reply(("shell", ["command": command]), ("finish", ["summary": "done"])))
        try run.answer(
            "lib-001.1.review.1", reply(("submit_review", ["decision": "approve", "summary": "right"])))
        let stages = [["agent", "lib-001"], ["validate", "lib-001"], ["agent", "--role", "reviewer", "lib-001"]]
        for stage in stages { #expect(try await run.auton(stage).status == 0) }
        let first = try mailbox.get(Candidate.self, "lib-001.1")

        try run.directory.write("mailbox/candidate/lib-001.1.json", "garbage")
        #expect(try await run.auton("agent", "lib-001").status == ExitStatus.badInput.rawValue)
        // A commit's time is in seconds.
        try await Task.sleep(for: .seconds(1.1))
        for stage in stages + [["merge", "lib-001"]] {
            let outcome = try await run.auton(stage)
            #expect(outcome.status == 0, "\(stage): \(outcome.errors)")
        }
        let second = try mailbox.get(Candidate.self, "lib-001.1")
        #expect(second.commit != first.commit && (second.tree != first.tree) == isAnotherTree)
        #expect(try mailbox.get(Merge.self, "lib-001").candidate == second.commit)
        let dead = try Files.list(run.directory["mailbox/dead"]).filter { !$0.hasSuffix(".reason") }
        let messages = ["candidate", "review", "verdict"].map { "\($0)-lib-001.1.json" }
        #expect(Set(dead) == Set(messages + (isAnotherTree ? ["transcript-lib-001.1.review.jsonl"] : [])))
    }
}
