import AutonKit
import AutonMessages
import FoundationEssentials
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// What is no message goes to `dead/` with its reason, and the rest goes on.
@Suite struct MailboxGarbageTests {
    private let directory: TemporaryDirectory
    private let mailbox: Mailbox
    private let reports = Reports()

    final class Reports: Sendable {
        let lines = Mutex<[String]>([])
    }

    init() throws {
        directory = try TemporaryDirectory()
        var mailbox = Mailbox(directory["mailbox"])
        mailbox.report = { [reports] line in reports.lines.withLock { $0.append(line) } }
        try mailbox.prepare()
        self.mailbox = mailbox
        try mailbox.file(Goal(number: 1, text: "good"))
        try mailbox.file(Goal(number: 9, text: "good too"))
    }

    @Test(arguments: [
        ("5.json", "", "not valid JSON at line 1, column 1"),
        ("5.json", "{\"kind\":", "not valid JSON at line 1, column 9"),
        ("5.json", "{\"kind\": \"goal\",\n  \"é\" 1}", "not valid JSON at line 2, column 7"),
        ("5.json", "{\"kind\": \"go\nal\"}", "not valid JSON at line 1, column 13"),
        ("5.json", "{\"kind\": goal}", "not valid JSON at line 1, column 10"),
        ("5.json", "{} x", "not valid JSON at line 1, column 4"),
        ("5.json", "[1, 2]", "Expected to decode Dictionary"),
        ("5.json", "{\"kind\":\"goal\",\"format\":1,\"number\":5}", "no text"),
        ("5.json", "{\"kind\":\"goal\",\"format\":1,\"number\":\"5\",\"text\":\"x\"}", "Expected to decode Int"),
        ("5.json", "{\"kind\":\"plan\",\"format\":1,\"number\":5,\"text\":\"x\"}", "kind is plan, expected goal"),
        ("5.json", "{\"kind\":\"goal\",\"format\":2,\"number\":5,\"text\":\"x\"}", "unknown format 2 of goal"),
        ("6.json", "{\"kind\":\"goal\",\"format\":1,\"number\":5,\"text\":\"x\"}", "named 6, but its contents say 5"),
        ("05.json", "{\"kind\":\"goal\",\"format\":1,\"number\":5,\"text\":\"x\"}", "named 05, but its contents say 5"),
    ])
    func isSetAside(file: String, text: String, reason: String) throws {
        try directory.write("mailbox/goal/\(file)", text)
        #expect(try mailbox.all(Goal.self).map(\.number) == [1, 9])
        #expect(try directory.read("mailbox/dead/goal-\(file)") == text)
        let told = try directory.read("mailbox/dead/goal-\(file).reason")
        #expect(told.contains(reason) && told.hasSuffix("\n") && told.split(separator: "\n").count == 1)
        #expect(try mailbox.names(.goal) == ["1", "9"])
        #expect(reports.lines.withLock { $0 } == ["set aside: \(told.dropLast()): \(directory.path)/mailbox/dead/goal-\(file)"])
        // It is gone: the next reader is told nothing.
        #expect(try mailbox.all(Goal.self).count == 2)
        #expect(reports.lines.withLock { $0.count } == 1)
    }

    @Test func whatHasNoNameInUTF8IsSetAside() throws {
        let bytes = directory["mailbox/plan/"].string.utf8.map { CChar(bitPattern: $0) }
        #expect(close(creat(bytes + [0x2f, CChar(bitPattern: 0xff)] + ".json".utf8.map { CChar($0) } + [0], 0o644)) == 0)
        #expect(try mailbox.all(Plan.self).isEmpty)
        #expect(try Files.list(directory["mailbox/plan"]) == [])
        #expect(try directory.read("mailbox/dead/plan-\u{fffd}.json") == "")
    }

    @Test func aWrongNameIsToldWithTheRightOnes() throws {
        let error = try #require(throws: DecodingError.self) {
            try JSONDecoder().decode([Role].self, fromJSON: Array(#"["wizard"]"#.utf8))
        }
        #expect(Mailbox.explain(error) == "“wizard” is none of architect, developer, tester in [0]")
    }

    @Test func namesThatAreNoMessagesAreSetAside() throws {
        try directory.write("mailbox/task/notes.txt", "hello")
        try directory.write("mailbox/task/boot-001.1.json~", "old")
        #expect(try mailbox.all(TaskMessage.self) == [])
        #expect(try Files.list(directory["mailbox/task"]) == [])
        #expect(try directory.read("mailbox/dead/task-notes.txt.reason") == "named notes.txt, but its contents say NAME.json\n")
    }

    @Test func aDroppedGoalIsNotGarbage() throws {
        try directory.write("mailbox/goal/mine.txt", "a kernel")
        #expect(try mailbox.all(Goal.self).count == 2)
        #expect(try directory.read("mailbox/goal/mine.txt") == "a kernel")
    }

    @Test func findSetsAsideAndSaysSo() async throws {
        try directory.write("mailbox/goal/5.json", "{}")
        let error = await failure { try mailbox.find(Goal.self, "5") }
        #expect(error?.status == .badInput)
        #expect(error?.description == "not a message: no kind: \(directory.path)/mailbox/goal/5.json")
        #expect(try mailbox.find(Goal.self, "5") == nil)
        #expect(try directory.read("mailbox/dead/goal-5.json") == "{}")
    }

    @Test func theSameNameTwiceLosesNeither() throws {
        for text in ["first", "second", "third"] {
            try directory.write("mailbox/goal/5.json", text)
            _ = try mailbox.all(Goal.self)
        }
        #expect(try directory.read("mailbox/dead/goal-5.json") == "first")
        #expect(try directory.read("mailbox/dead/goal-5.json.2") == "second")
        #expect(try directory.read("mailbox/dead/goal-5.json.3") == "third")
        #expect(Files.exists(directory["mailbox/dead/goal-5.json.3.reason"]))
    }

    @Test func directoriesAndLinksAreSetAside() throws {
        try Files.createDirectories(directory["mailbox/goal/5.json"])
        symlink("/nonexistent", directory["mailbox/goal/6.json"].string)
        #expect(try mailbox.all(Goal.self).map(\.number) == [1, 9])
        #expect(try mailbox.names(.goal) == ["1", "9"])
    }
}
