import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// A goal in English, and a Manager that answers.
@Suite struct GoalTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    @Test func theManagerMakesThePlan() async throws {
        try scene.prepareReply("plan-1", 1, reply(("list", [:]), ("read", ["path": "spec/boot.md"])))
        try scene.prepareReply("plan-1", 2, plan: threeTasks)
        #expect(try await scene.plan("Build", "a kernel") == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
        #expect(try scene.mailbox.all(Goal.self) == [Goal(number: 1, text: "Build a kernel")])
        let plan = try scene.mailbox.get(Plan.self, "1")
        #expect(plan.goal == "Build a kernel" && plan.tasks == threeTasks && plan.amendments == [])
        let digest = try await Tools.digest(of: scene.mailbox.transcript("plan-1"))
        #expect(
            plan.provenance
                == Provenance(model: "scripted", transcript: digest, turns: 2, usage: TokenUsage(input: 200, output: 20)))
        #expect(try scene.news("plan-1", 1) == "The goal:\n\nBuild a kernel\n")
        let seen = try scene.news("plan-1", 2)
        // A workspace starts from the protected part alone.
        #expect(seen.contains("spec/boot.md  13") && seen.contains("1\tBoot prints.") && !seen.contains("boot/entry.asm"))
        #expect(try Files.list(scene.directory["workspace/.auton/worktree"]) == [])
    }

    @Test func theWholeKernelMayBeTheStart() async throws {
        try scene.prepareReply("plan-1", 1, reply(("list", ["path": "boot"])))
        try scene.prepareReply("plan-1", 2, plan: threeTasks)
        _ = try await scene.plan("--on-kernel", "Build a kernel")
        #expect(try scene.news("plan-1", 2) == "boot/Makefile  17\nboot/entry.asm  4")
    }

    @Test func aGoalComesOnStandardInput() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        #expect(try await scene.plan("-", input: "\n  Build a kernel\nthat prints.\n\n").status == 0)
        #expect(try scene.mailbox.all(Goal.self).map(\.text) == ["Build a kernel\nthat prints."])
    }

    @Test func aPlannedGoalIsNotPlannedAgain() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        let first = try await scene.plan("Build a kernel")
        let before = try scene.filed()
        for reply in try Files.list(scene.directory.path) where reply.hasPrefix("reply.") {
            try Files.removeTree(scene.directory[reply])
        }
        #expect(try await scene.plan("  Build a kernel ") == first)
        #expect(try scene.filed() == before)
    }

    @Test func aPlanThatDoesNotHoldGoesBack() async throws {
        try scene.prepareReply("plan-1", 1, plan: [plannedTask("boot-a", after: ["boot-z"], path: "mm/x.c")])
        try scene.prepareReply("plan-1", 2, plan: threeTasks)
        #expect(try await scene.plan("Build a kernel") == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
        #expect(
            try scene.news("plan-1", 2) == """
                The plan does not hold:
                - boot-a: depends on boot-z, which is not in the plan
                - boot-a: has no path in boot/, its subsystem's directory
                """)
        #expect(try scene.mailbox.all(TaskMessage.self).count == 3)
    }

    @Test func itGoesBackABoundedNumberOfTimes() async throws {
        for turn in 1...9 { try scene.prepareReply("plan-1", turn, plan: [plannedTask("boot-\(turn)", path: "mm/")]) }
        let outcome = try await scene.plan("Build a kernel")
        #expect(outcome.status == 69 && outcome.output == "")
        #expect(
            outcome.errors
                == "auton-plan: the Manager made no plan: what it handed in was refused 4 times, last because: boot-4: has no path in boot/, its subsystem's directory\n"
        )
        #expect(scene.wasAsked.count == 4)
        #expect(try scene.mailbox.all(Plan.self).isEmpty && scene.mailbox.all(TaskMessage.self).isEmpty)
    }

    /// A conversation that was cut short is gone on with, and paid for once.
    @Test func anInterruptedConversationGoesOn() async throws {
        try scene.prepareReply("plan-1", 1, reply(("list", [:])))
        let cut = try await scene.plan("Build a kernel")
        #expect(cut.status == 69 && cut.errors.hasPrefix("auton-plan: the model command failed (exit status 1): no reply: "))
        try Files.removeTree(scene.directory["request.plan-1.1"])
        try scene.prepareReply("plan-1", 2, plan: threeTasks)
        #expect(try await scene.plan("Build a kernel").status == 0)
        #expect(scene.wasAsked == ["request.plan-1.2"])
        #expect(try scene.mailbox.all(Goal.self).count == 1)
    }

    @Test func nobodySweepsTheManagersWorktreeAway() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        let model =
            "exec:touch \(scene.directory["asked"]); until test -e \(scene.directory["go"]); do sleep 0.02; done; cat \(scene.directory["reply.plan-1.1"])"
        async let outcome = scene.plan("--model", model, "Build a kernel")
        for _ in 0..<3000 where !Files.exists(scene.directory["asked"]) { try await Task.sleep(for: .milliseconds(20)) }
        try await Workspace(scene.directory["workspace"]).sweep()
        #expect(Files.exists(scene.directory["workspace/.auton/worktree/plan/spec/boot.md"]))
        try scene.directory.write("go", "")
        #expect(try await outcome.status == 0)
    }

    /// The one about another goal is not.
    @Test func anotherGoalIsAnotherConversation() async throws {
        try scene.prepareReply("plan-1", 1, reply(("list", [:])))
        #expect(try await scene.plan("Build a kernel").status == 69)
        try scene.prepareReply("plan-1", 1, plan: [plannedTask("boot-other")])
        let outcome = try await scene.plan("Build another kernel")
        #expect(outcome.status == 0 && outcome.output == "boot-other\n")
        #expect(outcome.errors.hasPrefix("auton-plan: set aside: the Manager is asked something else now: "))
        #expect(try scene.news("plan-1", 1) == "The goal:\n\nBuild another kernel\n")
        #expect(try scene.mailbox.get(Plan.self, "1").goal == "Build another kernel")
        #expect(try Files.list(scene.directory["mailbox/dead"]).count == 2, "what was paid for is not lost")
    }

    /// Asked again after it made no plan, the Manager is asked anew: its old answers would only be refused again.
    @Test func aRefusedManagerMayTryAgain() async throws {
        for turn in 1...4 { try scene.prepareReply("plan-1", turn, plan: [plannedTask("boot-\(turn)", path: "mm/")]) }
        #expect(try await scene.plan("Build a kernel").status == 69)
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        #expect(try await scene.plan("Build a kernel").status == 0)
    }

    @Test func aSecondGoalKnowsTheTasksOfTheFirst() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        _ = try await scene.plan("Build a kernel")
        try scene.prepareReply("plan-2", 1, plan: [plannedTask("boot-a")])
        try scene.prepareReply("plan-2", 2, plan: [plannedTask("boot-d", after: ["boot-a"])])
        #expect(try await scene.plan("Make it faster") == Outcome(status: 0, output: "boot-d\n"))
        #expect(try scene.news("plan-2", 1).contains("boot-b  developer  waits for boot-a"))
        #expect(try scene.news("plan-2", 2).contains("boot-a: a task of this id is planned already"))
        #expect(try scene.mailbox.all(Goal.self).map(\.number) == [1, 2])
    }
}
