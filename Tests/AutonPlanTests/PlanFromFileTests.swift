import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct PlanFromFileTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    @Test func aPlanBecomesTasksAndAGraph() async throws {
        let plan = try scene.write(threeTasks)
        #expect(try await scene.plan("--from", plan) == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
        let mailbox = scene.mailbox
        #expect(try mailbox.all(Plan.self) == [Plan(number: 1, goal: "by hand", tasks: threeTasks, provenance: nil)])
        #expect(try mailbox.all(TaskMessage.self) == threeTasks.map(TaskMessage.init).sorted { $0.name < $1.name })
        #expect(
            try scene.directory.read("mailbox/graph.mk") == """
                # The task graph, written by auton-plan.
                TASKS := boot-b boot-a boot-c
                $(MAILBOX)/merge/boot-b.json: | $(MAILBOX)/merge/boot-a.json
                $(MAILBOX)/merge/boot-c.json: | $(MAILBOX)/merge/boot-a.json $(MAILBOX)/merge/boot-b.json

                """)
        #expect(try await Workspace(scene.directory["workspace"]).git.run("ls-tree", "--name-only", "main").contains("spec"))
        #expect(
            try scene.filed().keys.sorted() == [
                "graph.mk", "plan/1.json", "task/boot-a.1.json", "task/boot-b.1.json", "task/boot-c.1.json",
            ])
    }

    @Test func makeReadsTheGraph() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        let rules = "all: $(TASKS:%=$(MAILBOX)/merge/%.json)\n$(MAILBOX)/merge/%.json: ; @echo $*\n"
        let makefile = try scene.directory.write("Makefile", "merged: all\ninclude $(MAILBOX)/graph.mk\n" + rules)
        let made = try await Program.run("make", ["-s", "-f", makefile.string, "MAILBOX=\(scene.directory["mailbox"])"])
        #expect(made == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
    }

    @Test func doingItAgainChangesNothing() async throws {
        let plan = try scene.write(threeTasks)
        let first = try await scene.plan("--from", plan)
        let before = try scene.filed()
        #expect(try await scene.plan("--from", plan) == first)
        #expect(try scene.filed() == before)
    }

    @Test func aSecondPlanAddsToTheFirst() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        let more = try scene.write([plannedTask("boot-d", after: ["boot-c"])], to: "more.json")
        #expect(try await scene.plan("--from", more) == Outcome(status: 0, output: "boot-d\n"))
        let graph = try scene.directory.read("mailbox/graph.mk")
        #expect(graph.contains("TASKS := boot-b boot-a boot-c boot-d\n"))
        #expect(graph.contains("merge/boot-d.json: | $(MAILBOX)/merge/boot-c.json\n"))
        let again = try scene.write([plannedTask("boot-a", "Another task of that name")], to: "again.json")
        let refused = try await scene.plan("--from", again)
        #expect(refused.status == 65 && refused.errors.contains("boot-a: a task of this id is planned already"))
    }

    @Test func aPlanMayComeThroughAPipe() async throws {
        let plan = try scene.directory.read(String(scene.write(threeTasks).split(separator: "/").last!))
        #expect(
            try await scene.plan("--from", "/dev/stdin", input: plan) == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
    }

    @Test func whatAKillCutShortIsCompleted() async throws {
        let plan = try scene.write(threeTasks)
        _ = try await scene.plan("--from", plan)
        let whole = try scene.filed()
        for name in ["task/boot-b.1.json", "task/boot-c.1.json", "graph.mk"] {
            try Files.removeTree(scene.directory["mailbox/\(name)"])
        }
        #expect(try await scene.plan("--from", plan).status == 0)
        #expect(try scene.filed() == whole)
    }

    @Test func jsonIsTheMessage() async throws {
        let plan = try await scene.plan("--from", scene.write(threeTasks), "--json")
        #expect(try plan.output == scene.directory.read("mailbox/plan/1.json"))
        // Which is a plan that can be taken elsewhere.
        let other = try Scene()
        #expect(
            try await other.plan("--from", scene.directory["mailbox/plan/1.json"].string).lines == ["boot-a", "boot-b", "boot-c"])
    }

    @Test(arguments: [
        ("", "malformed JSON"), ("{\"tasks\":", "malformed JSON"), ("[]", "the plan does not hold: the input must be object"),
        ("{\"goal\":\"x\"}", "the plan does not hold: tasks is missing"),
        ("{\"goal\":\" \",\"tasks\":[]}", "the goal is empty"),
        ("{\"goal\":\"\(String(repeating: "x", count: 65_537))\",\"tasks\":[]}", "the goal is over 65536 bytes"),
        ("{\"tasks\":[{\"id\":\"a\"}]}", "the plan does not hold: tasks[0].title is missing; tasks[0].role is missing; "),
        ("{\"tasks\":[{\"depends\":\"a\",\"titel\":\"\"}]}", "the plan does not hold: tasks[0].id is missing; "),
        ("{\"tasks\":[]}", "the plan does not hold: the plan has no task"),
    ])
    func whatIsNoPlanIsBadInput(text: String, reason: String) async throws {
        let path = try scene.directory.write("plan.json", text).string
        let outcome = try await scene.plan("--from", path)
        #expect(outcome.status == 65 && outcome.output == "")
        #expect(outcome.errors.hasPrefix("auton-plan: \(reason)") && outcome.errors.hasSuffix(": \(path)\n"))
        #expect(outcome.errors.split(separator: "\n").count == 1)
        #expect(try scene.filed() == [:])
    }

    @Test func aPlanThatIsNotThereIsBadInput() async throws {
        #expect(
            try await scene.plan("--from", "/nonexistent/plan.json")
                == Outcome(status: 65, errors: "auton-plan: cannot read: No such file or directory: /nonexistent/plan.json\n"))
    }

    /// What a re-plan by the Manager must hold to, one by hand must too: a task that stood for itself would have no end.
    @Test(arguments: [
        (
            Amendment(task: "boot-a", replacements: ["boot-a"], reason: "r"),
            "boot-a is neither blocked nor stuck behind one that is, so it cannot be amended"
        ),
        (
            Amendment(task: "boot-z", replacements: [], reason: "r"),
            "boot-z is neither blocked nor stuck behind one that is, so it cannot be amended"
        ),
        (
            Amendment(task: "boot-a", replacements: ["boot-z"], reason: "r"),
            "boot-a: its replacement boot-z is not among the new tasks"
        ),
    ])
    func amendmentsByHandMustHold(amendment: Amendment, reason: String) async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        let outcome = try await scene.plan(
            "--from", scene.write([plannedTask("boot-d")], to: "more.json", amendments: [amendment]))
        #expect(outcome.status == 65)
        #expect(outcome.errors.contains(reason))
        #expect(try scene.mailbox.all(Plan.self).count == 1)
    }

    @Test func amendmentsByHandReplaceBlockedTasks() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        try scene.mailbox.file(Blocked(task: "boot-a", attempts: 3, reasons: []))
        let amendment = Amendment(task: "boot-a", replacements: ["boot-d"], reason: "better told")
        #expect(
            try await scene.plan("--from", scene.write([plannedTask("boot-d")], to: "more.json", amendments: [amendment])).status
                == 0)
        #expect(try scene.directory.read("mailbox/graph.mk").contains("merge/boot-b.json: | $(MAILBOX)/merge/boot-d.json\n"))
    }
}
