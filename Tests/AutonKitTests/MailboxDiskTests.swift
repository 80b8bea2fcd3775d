import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A mailbox that cannot be written.
@Suite struct MailboxDiskTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func aFullDiskIsTryAgainAndLosesNothing() async throws {
        let disk = try Mount(at: directory["disk"], bytes: 128 << 10)
        let mailbox = Mailbox(disk.path.appending("mailbox"))
        try mailbox.prepare()
        var filed: [String] = []
        var error: AutonError?
        for number in 1...100 where error == nil {
            let goal = Goal(number: number, text: String(repeating: "kernel ", count: 1500))
            error = await failure { try mailbox.file(goal) }
            if error == nil { filed.append(goal.name) }
        }
        #expect(error?.status == .tryAgain)
        #expect(error?.what == "cannot write: No space left on device")
        #expect(filed.count > 3)
        #expect(try mailbox.all(Goal.self).map(\.name).sorted() == filed.sorted())
        #expect(try Files.list(mailbox.root.appending("dead")) == [])
        // What could not be filed does not keep the disk full.
        #expect(try Files.list(mailbox.root.appending("tmp")) == [])

        try Files.removeTree(mailbox.path(.goal, "1"))
        try mailbox.file(Goal(number: 101, text: "now it fits"))
    }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func fileAllOnAFullDiskIsTryAgain() async throws {
        let disk = try Mount(at: directory["disk"], bytes: 256 << 10)
        let mailbox = Mailbox(disk.path.appending("mailbox"))
        try mailbox.prepare()
        let tasks = (1...500).map { TaskMessage(plannedTask("boot-\($0)")) }
        #expect(await failure { try mailbox.fileAll(tasks) }?.status == .tryAgain)
        #expect(try mailbox.names(.task) == [])
    }

    @Test(.enabled(if: Mount.isPossible || geteuid() != 0, "\(Mount.reason)"))
    func aReadOnlyMailboxIsBadConfiguration() async throws {
        let disk = geteuid() == 0 ? try Mount(at: directory["disk"], bytes: 128 << 10) : nil
        let mailbox = Mailbox(directory["disk"].appending("mailbox"))
        try mailbox.prepare()
        try mailbox.file(Goal(number: 1, text: "a kernel"))
        try disk?.makeReadOnly()
        if disk == nil { for kind in ["goal", "tmp"] { chmod(mailbox.root.appending(kind).string, 0o555) } }
        let error = await failure { try mailbox.file(Goal(number: 2, text: "another")) }
        #expect(error?.status == .badConfiguration)
        #expect(error?.what.hasPrefix("cannot write: ") == true)
        #expect(try mailbox.all(Goal.self).map(\.number) == [1])
    }

    @Test func aFileWhereTheMailboxShouldBeIsBadInput() async throws {
        try directory.write("mailbox", "not a directory")
        #expect(await failure { try Mailbox(directory["mailbox"]).prepare() }?.status == .badInput)
    }
}
