import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A disk that is full or read-only under the real program, and files that cannot be read.
@Suite struct FaultTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func aReadOnlyMailbox() async throws {
        let plan = try scene.write(threeTasks)
        let disk = try Mount(at: scene.directory["mailbox"], bytes: 1 << 20)
        #expect(try await scene.plan("--from", plan).status == 0)
        let before = try scene.filed()
        try disk.makeReadOnly()
        let outcome = try await scene.plan("--from", scene.write([plannedTask("boot-d")], to: "more.json"))
        #expect(outcome.status == 78 && outcome.output == "")
        #expect(outcome.errors.hasPrefix("auton-plan: cannot ") && outcome.errors.contains("Read-only file system: \(disk.path)"))
        #expect(outcome.errors.split(separator: "\n").count == 1)
        #expect(try scene.filed() == before)
    }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"), arguments: [40, 60, 120])
    func aFullMailboxDisk(_ kilobytes: Int) async throws {
        let disk = try Mount(at: scene.directory["mailbox"], bytes: kilobytes << 10)
        let plan = try scene.write((1...300).map { plannedTask("boot-\($0)") })
        let outcome = try await scene.plan("--from", plan)
        #expect(outcome.status == 75 && outcome.output == "")
        #expect(outcome.errors.contains("No space left on device"))
        #expect(try scene.mailbox.all(TaskMessage.self).count == scene.mailbox.names(.task).count)
        #expect(try Files.list(scene.directory["mailbox/dead"]) == [])

        // With room, it is completed.
        #expect(mount(nil, disk.path.string, nil, UInt(MS_REMOUNT), "size=8m") == 0)
        #expect(try await scene.plan("--from", plan).lines.count == 300)
        #expect(try scene.mailbox.all(TaskMessage.self).count == 300)
    }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func aFullWorkspaceDisk() async throws {
        let disk = try Mount(at: scene.directory["disk"], bytes: 64 << 10)
        let place = ["AUTON_WORKSPACE": disk.path.appending("workspace").string]
        let plan = try scene.write(threeTasks)
        let outcome = try await scene.plan("--from", plan, environment: place)
        #expect(outcome.status == 75)
        #expect(!Files.exists(disk.path.appending("workspace")))
        #expect(mount(nil, disk.path.string, nil, UInt(MS_REMOUNT), "size=8m") == 0)
        #expect(try await scene.plan("--from", plan, environment: place).status == 0)
    }

    @Test func outputThatCannotBeWrittenIsNoSuccess() async throws {
        let plan = try scene.write(threeTasks)
        let script = "auton-plan --from \(plan) >/dev/full"
        let outcome = try await Program.run("sh", ["-c", script], environment: scene.environment)
        #expect(outcome.status == 75)
        #expect(outcome.errors == "auton-plan: cannot write: No space left on device: standard output\n")
    }

    /// A message that cannot be read now is no garbage.
    /// The loop asks at every pass.
    @Test(.enabled("needs strace(1)") { await Strace.works })
    func theStateIsToldByOneLookAtEachMessage() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        let trace = scene.directory["trace"]
        let words = ["-f", "-o", trace.string, "-e", "trace=openat", "auton-status", "--outcome"]
        #expect(try await Program.run("strace", words, environment: scene.environment) == Outcome(status: 0, output: "due\n"))
        let opened = try scene.directory.read("trace").split(separator: "\n").filter { $0.contains(".json\"") }
        #expect(opened.count == 4)
    }

    @Test(.enabled("needs strace(1)") { await Strace.works })
    func aMessageThatCannotBeReadStays() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        let before = try scene.filed()
        let path = scene.directory["mailbox/plan/1.json"].string
        let outcome = try await Program.run(
            "strace",
            [
                "-f", "-o", "/dev/null", "-P", path, "-e", "trace=openat", "-e", "inject=openat:error=EMFILE", "auton-status",
                "--outcome",
            ],
            environment: scene.environment)
        #expect(outcome == Outcome(status: 75, errors: "auton-status: cannot read: Too many open files: \(path)\n"))
        #expect(try scene.filed() == before)
    }

    @Test func garbageInTheMailboxHoldsUpNobody() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        try scene.directory.write("mailbox/plan/7.json", "garbage")
        try scene.directory.write("mailbox/plan/readme", "garbage")
        let outcome = try await scene.plan("--show", "table")
        #expect(outcome.status == 0 && outcome.lines.count == 4)
        #expect(outcome.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("auton-plan: set aside: ") })
        #expect(try scene.directory.read("mailbox/dead/plan-7.json") == "garbage")
    }
}
