import AutonKit
import AutonMessages
import TestSupport
import Testing

/// Processes are the concurrency: many at once in one mailbox.
@Suite struct ConcurrencyTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    private func eight(_ run: @escaping @Sendable (Int) async throws -> Outcome) async throws -> [Outcome] {
        try await withThrowingTaskGroup(of: Outcome.self) { group in
            for number in 1...8 { group.addTask { try await run(number) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test func eightPlannersOfTheSamePlan() async throws {
        let plan = try scene.write(threeTasks)
        let outcomes = try await eight { [scene] _ in try await scene.plan("--from", plan) }
        for outcome in outcomes {
            let busy = Outcome(status: 75, errors: "auton-plan: another auton-plan is at work: \(scene.directory["mailbox"])\n")
            #expect(outcome == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n") || outcome == busy)
        }
        #expect(outcomes.contains { $0.status == 0 })
        #expect(try scene.mailbox.all(Plan.self).count == 1)
        #expect(try scene.mailbox.all(TaskMessage.self).count == 3)
        #expect(try Files.list(scene.directory["mailbox/dead"]) == [])
    }

    @Test func eightPlannersOfTheirOwnPlansTryingAgain() async throws {
        let plans = try (1...8).map { number in
            try scene.write(
                (1...20).map { plannedTask("boot-\(number)-\($0)") }, to: "plan-\(number).json", goal: "goal \(number)")
        }
        let outcomes = try await eight { [scene] number in
            let script =
                "for i in $(seq 200); do auton-plan --from \(plans[number - 1]) 2>/dev/null && exit; [ $? = 75 ] || exit; sleep 0.05; done"
            return try await Program.run("sh", ["-c", script], environment: scene.environment)
        }
        #expect(outcomes.allSatisfy { $0.status == 0 && $0.lines.count == 20 })
        #expect(try scene.mailbox.all(Plan.self).map(\.goal).sorted() == (1...8).map { "goal \($0)" })
        #expect(try scene.mailbox.all(Plan.self).map(\.number).sorted() == Array(1...8))
        #expect(try scene.mailbox.names(.task).count == 160)
        #expect(try scene.directory.read("mailbox/graph.mk").split(separator: "\n")[1].split(separator: " ").count == 162)
    }
}
