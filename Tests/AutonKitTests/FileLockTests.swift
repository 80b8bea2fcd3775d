import AutonKit
import SystemPackage
import TestSupport
import Testing

@Suite struct FileLockTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func oneHoldsIt() throws {
        let path = directory["lock/a"]
        let held = try FileLock(path)
        #expect(try FileLock(trying: path) == nil)
        #expect(try FileLock(trying: directory["lock/b"]) != nil)
        held.release()
        #expect(try FileLock(trying: path) != nil)
    }

    /// A descriptor that is closed twice may be another thread's the second time.
    @Test func whoDoesNotGetItClosesNothingElse() async throws {
        let path = directory["lock"]
        let held = try FileLock(path)
        let tries = Task.detached { for _ in 0..<3_000 { _ = try FileLock(trying: path) } }
        for _ in 0..<300_000 { try FileDescriptor.open("/dev/null", .readOnly).close() }
        try await tries.value
        held.release()
    }

    @Test func whoHoldsWhatIsToldWithoutTouchingIt() throws {
        let one = try FileLock(directory["locks/one"]), other = try FileLock(directory["locks/other"])
        other.release()
        #expect(FileLock.held(in: directory["locks"]) == ["one"])
        one.release()
        #expect(FileLock.held(in: directory["locks"]) == [])
    }

    @Test func readersShareIt() throws {
        let path = directory["lock"]
        let first = try FileLock(path)
        first.release()
        let readers = [try FileLock(shared: path), try FileLock(shared: path)]
        #expect(try FileLock(trying: path) == nil)
        readers.forEach { $0.release() }
        #expect(try FileLock(trying: path) != nil)
        #expect(throws: AutonError.self) { try FileLock(shared: directory["none"]) }
        #expect(!Files.exists(directory["none"]))
    }

    @Test func itGoesWithTheValue() throws {
        let path = directory["lock"]
        var held: FileLock? = try FileLock(path)
        #expect(try FileLock(trying: path) == nil)
        held = nil
        #expect(held == nil)
        #expect(try FileLock(trying: path) != nil)
    }

    @Test func itBindsOtherProcessesAndIsNotInherited() async throws {
        let path = directory["lock"]
        let held = try FileLock(path)
        let tries = "flock --nonblock \(path) true"
        #expect(try await Command("sh", ["-c", tries]).run().ending == .exited(1))
        // A child that outlives the holder must not keep the lock.
        let child = Task { try await Command("sleep", ["1"]).run() }
        try await Task.sleep(for: .milliseconds(100))
        held.release()
        #expect(try await Command("sh", ["-c", tries]).run().succeeded)
        _ = try await child.value
    }
}
