import AutonMessages
import TestSupport
import Testing

@testable import auton_plan

@Suite struct PlanCheckTests {
    private func task(_ change: (inout PlannedTask) -> Void) -> [PlannedTask] {
        var task = plannedTask("boot-a")
        change(&task)
        return [task]
    }

    private func problems(_ tasks: [PlannedTask], existing: Set<String> = []) -> [String] {
        PlanCheck(existing: existing).problems(in: tasks)
    }

    @Test func aSoundPlanHasNone() {
        #expect(problems(threeTasks) == [])
        #expect(problems([plannedTask("boot-d", after: ["boot-a"])], existing: ["boot-a"]) == [])
        #expect(problems(task { ($0.role, $0.paths, $0.accept) = (.architect, ["include/boot.h"], []) }) == [])
        #expect(problems(task { ($0.role, $0.paths) = (.tester, ["tests/"]) }) == [])
    }

    @Test func idsAreNames() {
        #expect(
            problems([plannedTask("Boot 1")]) == [
                "Boot 1: an id is lower-case letters, digits and hyphens, 64 at most, a letter first and no hyphen last"
            ])
        #expect(problems([plannedTask("boot-a"), plannedTask("boot-a")]) == ["boot-a: this id is used twice"])
        #expect(problems([plannedTask("boot-a")], existing: ["boot-a"]) == ["boot-a: a task of this id is planned already"])
        #expect(problems(task { $0.title = "a\nb" }) == ["boot-a: its title is not one line of text"])
    }

    @Test func dependenciesExistAndHaveAnOrder() {
        #expect(problems([plannedTask("boot-a", after: ["boot-z"])]) == ["boot-a: depends on boot-z, which is not in the plan"])
        let circle = [
            plannedTask("a", after: ["c"]), plannedTask("b", after: ["a"]), plannedTask("c", after: ["b"]), plannedTask("d"),
        ]
        #expect(problems(circle) == ["these tasks depend on one another in a circle: a, b, c"])
        #expect(problems([plannedTask("a", after: ["a"])]) == ["these tasks depend on one another in a circle: a"])
    }

    @Test func theSubsystemIsKnown() {
        #expect(
            problems(task { ($0.subsystem, $0.paths) = ("net", ["net/x.c"]) })
                == [
                    "boot-a: unknown subsystem net (there are boot, mm, sched, ipc, nl, hv, llm, drivers, lib)",
                    "boot-a: path net/x.c is outside the subsystems' directories and the headers of include/, where its role works",
                ])
    }

    @Test(arguments: [
        "net/x.c", "bootx/x.c", "include/", "include/boot.c", "spec/boot.md", "Makefile",
    ])
    func pathsStayWhereTheRoleWorks(_ path: String) {
        #expect(
            problems(task { $0.paths = ["boot/fine.c", path] })
                == [
                    "boot-a: path \(path) is outside the subsystems' directories and the headers of include/, where its role works"
                ])
    }

    /// A path that no file has, as it would be compared, is of no use.
    @Test(arguments: [
        "/boot/x.c", "", ".", "boot/../mm/x.c", "../boot/x.c", "include/../spec.h", "boot/..", "./boot/x.c", "boot//x.c",
        "boot/./x.c",
        "boot/*.c", "boot/a\nb.c", "boot/a b.c",
    ])
    func pathsArePlain(_ path: String) {
        let found = problems(task { $0.paths = ["boot/fine.c", path] })
        #expect(found.count == 1 && found[0].hasPrefix("boot-a: path \(path) is not plain: "), "\(found)")
    }

    @Test func aDirectoryEndsInASlash() {
        #expect(problems(task { $0.paths = ["boot"] }) == ["boot-a: path boot is no file; for what is in it write boot/"])
    }

    @Test func aDeveloperWorksInItsOwnSubsystemAndInOthers() {
        #expect(problems(task { $0.paths = ["mm/x.c", "boot/gdt.c", "drivers/mmio.c", "include/boot/x.h"] }) == [])
        #expect(problems(task { $0.paths = ["mm/x.c"] }) == ["boot-a: has no path in boot/, its subsystem's directory"])
    }

    @Test func everyRoleHasItsPlace() {
        #expect(problems(task { $0.role = .architect }) == ["boot-a: path boot/ is outside include/, where its role works"])
        #expect(problems(task { $0.role = .tester }) == ["boot-a: path boot/ is outside tests/, where its role works"])
        #expect(problems(task { $0.paths = [] }) == ["boot-a: has no paths, so it could write nothing"])
    }

    @Test(arguments: ["boot", "boot.", ".x", "boot.a.b", "boot.a b", "boot.$(x)", "", "*", "boot/x", "böot.x"])
    func acceptNamesTests(_ name: String) {
        #expect(
            problems(task { $0.accept = ["boot.long_mode", "*.*", name] }) == [
                "boot-a: accept \(name) is no test name such as boot.long_mode or boot.*"
            ])
    }

    @Test func whatNothingJudgesIsRefused() {
        #expect(problems(task { $0.accept = [] }) == ["boot-a: has no tests in accept, so nothing could judge it"])
        #expect(problems([]) == ["the plan has no task"])
    }

    @Test func allThatIsWrongIsTold() {
        #expect(problems([plannedTask("A", after: ["z"], path: "/x")]).count == 3)
    }
}

@Suite struct TopologicalOrderTests {
    @Test func otherwiseTheOrderGivenIsKept() {
        #expect(topologicalOrder(threeTasks) == .success(["boot-a", "boot-b", "boot-c"]))
        #expect(topologicalOrder(["c", "a", "b"].map { plannedTask($0) }) == .success(["c", "a", "b"]))
        #expect(topologicalOrder([]) == .success([]))
    }

    @Test func whatIsOutsideCountsAsMet() {
        #expect(topologicalOrder([plannedTask("b", after: ["elsewhere", "a", "a"]), plannedTask("a")]) == .success(["a", "b"]))
    }

    @Test func whatFollowsACircleIsInItsReport() {
        let tasks = [plannedTask("a", after: ["b"]), plannedTask("b", after: ["a"]), plannedTask("c", after: ["b"])]
        #expect(topologicalOrder(tasks) == .failure(DependencyCycle(ids: ["a", "b", "c"])))
    }

    @Test func aLongChainAndAWideFan() {
        let chain = (0..<10_000).map { plannedTask("t\($0)", after: $0 == 0 ? [] : ["t\($0 - 1)"]) }
        #expect(topologicalOrder(chain.reversed()) == .success(chain.map(\.id)))
        let fan = [plannedTask("t")] + (0..<10_000).map { plannedTask("t\($0)", after: ["t"]) }
        #expect(topologicalOrder(fan) == .success(fan.map(\.id)))
    }
}
