import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// How much QEMU needs for itself, where it needs most: it reads a disk by threads, of which there are more when the host is busy.
@Suite struct BootMemoryTests {
    /// QEMU's end, and its first complaint, with other limits than the gate's.
    private func end(_ change: (inout Sandbox.Limits) -> Void) async throws -> (ending: CommandResult.Ending, complaint: String) {
        let tree = try await Temporary.builtKernel(Scaffold.kernel(named: "disk"))
        try #require(try await Build.run(in: tree.path).succeeded)
        let machine = try #require(Machine(named: "disk-smp4"))
        let boot = Boot(image: tree.path.appending(machine.image), machine: machine, seconds: 20)
        let directory = try Files.createTemporaryDirectory(tree.path.appending("build/boot"))
        try Worktree.handOver(directory)
        var sandbox = try await boot.prepared(directory)
        change(&sandbox.limits)
        let result = try await boot.qemu(in: sandbox, nonce: Boot.randomNonce())
        return (result.ending, Text.lines(result.errors.text).first ?? "")
    }

    /// As if it had started all threads that it ever starts.
    @Test func thereIsRoomForAllThreads() async throws {
        let (ending, complaint) = try await end { $0.memory -= 64 * (8 + 64) << 20 }
        #expect(ending == .exited(33), "\(complaint)")
    }

    /// Where QEMU or one of its libraries tells of it, which goes by where it runs out.
    @Test func noMemoryIsNoFaultOfTheKernels() async throws {
        var errors: [AutonError] = []
        for mebibytes in stride(from: 1000, to: 860, by: -20) {
            let (ending, complaint) = try await end { $0.memory = mebibytes << 20 }
            do {
                _ = try BootEnding(ending, complaint: complaint, isSilent: true, image: "/image")
            } catch let error as AutonError {
                errors.append(error)
            }
        }
        #expect(errors.contains { $0.status == .tryAgain && $0.what.hasPrefix("QEMU is short of memory: ") }, "\(errors)")
    }

    /// What else it aborts for is the kernel's until somebody finds out.
    @Test(arguments: [
        ("qemu: qemu_thread_create: Resource temporarily unavailable", SIGABRT, true),
        ("qemu-system-x86_64: GLib: ../../../glib/gmem.c:207: failed to allocate 53248 bytes", SIGTRAP, true),
        (
            "GLib (gthread-posix.c): Unexpected error from C library during 'malloc': Cannot allocate memory.  Aborting.",
            SIGABRT, true
        ),
        ("Bad ram pointer (nil)", SIGABRT, false),
    ])
    func whatItSays(complaint: String, signal: Int32, isShortage: Bool) throws {
        let ending = { try BootEnding(.signalled(signal), complaint: complaint, isSilent: false, image: "/image") }
        if isShortage {
            #expect(throws: AutonError.self) { try ending() }
        } else {
            #expect(try ending() == .other(128 + signal))
        }
    }
}
