import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@Suite struct MailboxTests {
    private let directory: TemporaryDirectory
    private let mailbox: Mailbox

    init() throws {
        directory = try TemporaryDirectory()
        mailbox = Mailbox(directory["mailbox"])
        try mailbox.prepare()
    }

    @Test func whatIsFiledIsFound() async throws {
        let task = TaskMessage(plannedTask("boot-001"))
        try mailbox.file(task)
        #expect(try mailbox.find(TaskMessage.self, "boot-001.1") == task)
        #expect(
            try directory.contents(of: "mailbox") == [
                "task/boot-001.1.json": String(decoding: Mailbox.encode(task), as: UTF8.self)
            ])
        #expect(try mailbox.find(TaskMessage.self, "boot-001.2") == nil)
        #expect(await failure { try mailbox.get(TaskMessage.self, "boot-001.2") }?.status == .badInput)
    }

    @Test func allAreInTheOrderOfTheirNames() throws {
        let goals = [3, 1, 2].map { Goal(number: $0, text: "goal \($0)") }
        for goal in goals { try mailbox.file(goal) }
        #expect(try mailbox.all(Goal.self).map(\.number) == [1, 2, 3])
        #expect(try mailbox.names(.goal) == ["1", "2", "3"])
        #expect(try mailbox.all(Plan.self).isEmpty)
    }

    @Test func filingTheSameAgainChangesNothing() throws {
        let goal = Goal(number: 1, text: "a kernel")
        try mailbox.file(goal)
        let before = try directory.contents()
        try mailbox.file(goal)
        #expect(try directory.contents() == before)
    }

    @Test func anotherMessageUnderTheSameNameIsRefused() async throws {
        try mailbox.file(Goal(number: 1, text: "a kernel"))
        let before = try directory.contents()
        let error = await failure { try mailbox.file(Goal(number: 1, text: "another kernel")) }
        #expect(error?.status == .bug)
        #expect(error?.description == "another message is filed under this name: \(directory.path)/mailbox/goal/1.json")
        #expect(try directory.contents() == before)
    }

    @Test func thousandsAreFiledAtOnce() throws {
        let tasks = (1...2000).map { TaskMessage(plannedTask("boot-\($0)")) }
        try mailbox.file(tasks[6])
        try mailbox.fileAll(tasks)
        #expect(try Set(mailbox.names(.task)) == Set(tasks.map(\.name)))
        #expect(try mailbox.find(TaskMessage.self, "boot-1711.1") == tasks[1710])
        #expect(try Files.list(mailbox.root.appending("tmp")) == [])
    }

    @Test func fileAllLeavesWhatIsThere() throws {
        let first = TaskMessage(plannedTask("boot-001", "first")), second = TaskMessage(plannedTask("boot-001", "second"))
        try mailbox.file(first)
        try mailbox.fileAll([second, TaskMessage(plannedTask("boot-002"))])
        #expect(try mailbox.all(TaskMessage.self).map(\.title) == ["first", "Do it"])
    }

    @Test func aRefusalMakesTheNextAttemptUntilThereAreEnough() throws {
        let first = TaskMessage(plannedTask("boot-001"))
        let reason = Reason(attempt: 1, stage: .gate, summary: "no", details: [])
        try mailbox.file(first)
        #expect(try mailbox.refuse(first, because: reason, maxAttempts: 2) == "boot-001.2 is filed")
        let before = try directory.contents()
        try mailbox.refuse(first, because: reason, maxAttempts: 2)
        #expect(try directory.contents() == before)

        let second = try mailbox.attempt(named: "boot-001")
        #expect(second.attempt == 2 && second.reasons == [reason])
        #expect(try mailbox.refuse(second, because: reason, maxAttempts: 2) == "boot-001 is blocked after 2 attempts")
        #expect(try mailbox.get(Blocked.self, "boot-001") == Blocked(task: "boot-001", attempts: 2, reasons: [reason, reason]))
        #expect(try mailbox.names(.task) == ["boot-001.1", "boot-001.2"])
    }

    @Test(arguments: ["boot-009", "boot-001.2", "../task/boot-001", "boot-001.1.1", "", "."])
    func aTaskThatDoesNotExistIsBadInput(_ name: String) async throws {
        try mailbox.file(TaskMessage(plannedTask("boot-001")))
        let error = await failure { try mailbox.attempt(named: name) }
        #expect(error?.status == .badInput)
        #expect(error?.description == "no such task: \(name)")
    }
}
