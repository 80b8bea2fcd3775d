import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

/// What the spec asks of the kernel in `kernel/` on machines that no gate boots.
@Suite struct ShippedKernelTests {
    /// The report of a test boot, which must end well.
    private func test(_ tree: Temporary, _ words: String...) async throws -> [String] {
        var command = Command("make", ["--silent", "--jobs=2", "test", "TIMEOUT=600"] + words)
        command.directory = tree.path
        let result = try await command.run()
        let lines = result.output.text.split(separator: "\n").map(String.init)
        let failed = lines.filter { $0.hasPrefix("not ok") }
        #expect(result.succeeded && failed.isEmpty, "\(words): \(result.errors.text) \(failed)")
        return lines
    }

    @Test func onOtherMachinesThanTheGates() async throws {
        let tree = try Temporary()
        for name in try Files.list(Scaffold.kernel) where name != "build" {
            try Files.copyTree(Scaffold.kernel.appending(name), to: tree.path.appending(name))
        }
        let tests = tree.path.appending("tests")
        for name in try Files.list(tests) where !name.hasPrefix("mm_") { try Files.removeTree(tests.appending(name)) }
        // Shares in per cent and milliseconds can be asked for where time is instructions: by the clock a busy machine decides.
        let fair = try await test(tree, "SMP=4", "COUNT=1", "SUITES=sched.thread_fair_smp,sched.thread_steal")
        #expect(fair.contains("ok 1 sched.thread_fair_smp") && fair.contains("ok 2 sched.thread_steal"))

        // What kmalloc gives is poisoned, and has red zones.
        let debug = try await test(tree, "SUITES=mm", "COUNT=1", "APPEND=console=com1 auton slab.debug")
        let costly = debug.filter { $0.hasPrefix("ok ") && $0.hasSuffix(" # SKIP slab.debug is on") }
        #expect(costly.count == 2)
    }
}
