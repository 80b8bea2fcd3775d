import AutonAgents
import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@Suite struct PromptsTests {
    @Test func factsAreFilledIn() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("developer.md", "You have {{turns}} turns in {{directory}}.\n")
        let prompts = Prompts(directory.path)
        #expect(
            try prompts.load("developer", facts: ["turns": "60", "directory": "/kernel", "more": "x"])
                == "You have 60 turns in /kernel.\n")
        let unknown = await failure { try prompts.load("developer", facts: ["turns": "60"]) }
        #expect(unknown?.status == .badConfiguration && unknown?.what.contains("{{directory}}") == true)
        let missing = await failure { try prompts.load("poet", facts: [:]) }
        #expect(missing?.status == .badConfiguration)
        #expect(missing?.description == "no prompt for the role poet: \(directory.path)/poet.md")
    }

    @Test(arguments: Role.allCases.map(\.rawValue) + ["manager", "reviewer"])
    func everyRoleHasOne(_ role: String) throws {
        let facts = ["directory", "turns", "shell_seconds", "shell_max_seconds", "output_bytes", "reply_tokens", "memory_mib"]
        let prompts = Prompts(Program.package.appending("prompts"))
        #expect(try prompts.load(role, facts: Dictionary(uniqueKeysWithValues: facts.map { ($0, "1") })).count > 200)
    }

    @Test func reasonsAreReadable() {
        let reasons = [
            Reason(attempt: 1, stage: .gate, summary: "build failed", details: ["a.c:1: error", "make: failed"]),
            Reason(attempt: 2, stage: .review, summary: "unclear", details: []),
        ]
        #expect(
            describe(reasons) == "### Attempt 1, gate: build failed\na.c:1: error\nmake: failed\n\n### Attempt 2, review: unclear"
        )
    }
}
