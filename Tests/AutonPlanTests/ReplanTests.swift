import AutonKit
import AutonMessages
import AutonModel
import TestSupport
import Testing

@Suite struct ReplanTests {
    private let scene: Scene

    init() async throws {
        scene = try Scene()
        #expect(try await scene.plan("--from", scene.write(threeTasks, goal: "Build a kernel")).status == 0)
    }

    private func block(_ task: String) throws {
        let reasons = [Reason(attempt: 3, stage: .gate, summary: "it hangs", details: ["boot: no output for 20 s"])]
        try scene.mailbox.file(Blocked(task: task, attempts: 3, reasons: reasons))
    }

    @Test func withNothingBlockedThereIsNothingToDo() async throws {
        let before = try scene.filed()
        #expect(try await scene.plan("--replan") == Outcome(status: 0))
        #expect(try scene.filed() == before)
        #expect(scene.wasAsked == [])
    }

    @Test func withNothingPlannedThereIsNoReplan() async throws {
        let other = try Scene()
        let outcome = try await other.plan("--replan")
        #expect(outcome.status == 65 && outcome.errors == "auton-plan: nothing is planned yet: \(other.directory["mailbox"])\n")
    }

    @Test func aBlockedTaskIsSplit() async throws {
        try block("boot-a")
        let parts = [plannedTask("boot-a1"), plannedTask("boot-a2", after: ["boot-a1"])]
        let amendment = Amendment(task: "boot-a", replacements: ["boot-a1", "boot-a2"], reason: "too large")
        try scene.prepareReply("plan-2", 1, plan: parts, amendments: [amendment])
        #expect(try await scene.plan("--replan") == Outcome(status: 0, output: "boot-a1\nboot-a2\n"))
        let told = try scene.news("plan-2", 1)
        #expect(
            told.contains("## boot-a is blocked after 3 attempts\n\n### Attempt 3, gate: it hangs\nboot: no output for 20 s\n"))
        #expect(try scene.mailbox.get(Plan.self, "2").amendments == [amendment])
        #expect(
            try scene.directory.read("mailbox/graph.mk") == """
                # The task graph, written by auton-plan.
                TASKS := boot-b boot-c boot-a1 boot-a2
                $(MAILBOX)/merge/boot-b.json: | $(MAILBOX)/merge/boot-a1.json $(MAILBOX)/merge/boot-a2.json
                $(MAILBOX)/merge/boot-c.json: | $(MAILBOX)/merge/boot-a1.json $(MAILBOX)/merge/boot-a2.json $(MAILBOX)/merge/boot-b.json
                $(MAILBOX)/merge/boot-a2.json: | $(MAILBOX)/merge/boot-a1.json

                """)
        #expect(try await scene.plan("--replan") == Outcome(status: 0), "once is enough")
    }

    /// A kill came between the plan and its tasks.
    @Test(arguments: ["--replan", "--publish"]) func whatAKillCutShortIsCompleted(way: String) async throws {
        try block("boot-a")
        let amendment = Amendment(task: "boot-a", replacements: ["boot-d"], reason: "r")
        try scene.prepareReply("plan-2", 1, plan: [plannedTask("boot-d")], amendments: [amendment])
        let graph = try scene.directory.read("mailbox/graph.mk")
        #expect(try await scene.plan("--replan").status == 0)
        let whole = try scene.filed()
        for name in ["request.plan-2.1", "mailbox/task/boot-d.1.json"] { try Files.removeTree(scene.directory[name]) }
        try scene.directory.write("mailbox/graph.mk", graph)
        #expect(try await scene.plan(way) == Outcome(status: 0, output: "boot-d\n"))
        #expect(try scene.filed() == whole)
        #expect(try await scene.plan(way) == Outcome(status: 0), "once is enough")
        #expect(scene.wasAsked == [])
    }

    @Test func dependentsOfADroppedTaskAreReported() async throws {
        try block("boot-a")
        try scene.prepareReply(
            "plan-2", 1, plan: [], amendments: [Amendment(task: "boot-a", replacements: [], reason: "not needed")])
        let outcome = try await scene.plan("--replan")
        #expect(outcome.status == 0 && outcome.output == "")
        #expect(
            outcome.errors == """
                auton-plan: boot-b cannot start: boot-a is dropped (not needed)
                auton-plan: boot-c cannot start: boot-a is dropped (not needed), boot-b cannot start either

                """)
        // Nothing is left that could be made, but what is planned is shown.
        #expect(try await scene.plan("--show", "mermaid").output.contains("boot-a --> boot-b"))
        #expect(try scene.directory.read("mailbox/graph.mk").contains("\nTASKS := \n"))
    }

    @Test func everyBlockedTaskNeedsAnAmendment() async throws {
        try block("boot-a")
        try block("boot-c")
        let drop = Amendment(task: "boot-a", replacements: [], reason: "r")
        try scene.prepareReply("plan-2", 1, plan: [plannedTask("boot-d")], amendments: [drop])
        try scene.prepareReply(
            "plan-2", 2, plan: [plannedTask("boot-d")],
            amendments: [
                drop, Amendment(task: "boot-c", replacements: ["boot-e"], reason: "r"),
                Amendment(task: "boot-z", replacements: [], reason: "r"),
            ])
        try scene.prepareReply(
            "plan-2", 3, plan: [plannedTask("boot-d")],
            amendments: [drop, Amendment(task: "boot-c", replacements: ["boot-d"], reason: "r")])
        #expect(try await scene.plan("--replan").output == "boot-d\n")
        #expect(try scene.news("plan-2", 2) == "The plan does not hold:\n- boot-c is blocked, and no amendment speaks of it")
        #expect(
            try scene.news("plan-2", 3) == """
                The plan does not hold:
                - boot-c: its replacement boot-e is not among the new tasks
                - boot-z is neither blocked nor stuck behind one that is, so it cannot be amended
                """)
    }

    /// What was planned to come after a blocked task need not stay as it was planned.
    @Test func whatIsStuckMayBeAmended() async throws {
        try block("boot-a")
        try scene.prepareReply(
            "plan-2", 1, plan: [plannedTask("boot-d")],
            amendments: [
                Amendment(task: "boot-a", replacements: [], reason: "r"),
                Amendment(task: "boot-b", replacements: ["boot-d"], reason: "r"),
                Amendment(task: "boot-c", replacements: [], reason: "r"),
            ])
        #expect(try await scene.plan("--replan") == Outcome(status: 0, output: "boot-d\n"))
        #expect(try scene.directory.read("mailbox/graph.mk").contains("\nTASKS := boot-d\n"))
    }

    @Test func interactionsAreHandedToTheManagerOnce() async throws {
        let workspace = try Workspace(scene.directory["workspace"])
        let main = try await workspace.main()
        let found = Interaction(test: "boot.prints", alone: .ok, combined: .notOk, evidence: ["got: garbage"])
        try scene.mailbox.file(
            Composition(
                commit: main, tree: await workspace.git.tree(of: main), configurations: [], interactions: [found], console: []))
        var test = plannedTask("boot-check")
        test.role = .tester
        test.depends = ["boot-fix"]
        test.paths = ["tests/boot_fix.c"]
        test.accept = ["boot.in_company"]
        try scene.prepareReply("plan-2", 1, plan: [plannedTask("boot-fix")], amendments: [])
        try scene.prepareReply("plan-2", 2, plan: [plannedTask("boot-fix"), test], amendments: [])
        #expect(try await scene.plan("--replan").output == "boot-fix\nboot-check\n")
        #expect(
            try scene.news("plan-2", 2)
                == "The plan does not hold:\n- no tester task: what is wrong in company wants a test that fails as long as it is")
        #expect(
            try scene.news("plan-2", 1).contains(
                "## What is one thing alone and another in company\n\n### boot.prints: ok alone, not-ok combined\n\ngot: garbage"
            ))
        #expect(try await scene.plan("--replan") == Outcome(status: 0))
    }
}
