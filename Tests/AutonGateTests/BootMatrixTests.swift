import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

/// Every boot path, really booted: the kernel of `Tests/Kernels/disk` has a Multiboot2 header and a boot sector of its own.
@Suite struct BootMatrixTests {
    private func trial(seconds: Double = 20, _ edits: (inout [String: String]) -> Void) async throws
        -> (tree: Temporary, trial: Trial, limits: RunLimits)
    {
        var files = try Scaffold.kernel(named: "disk")
        edits(&files)
        let tree = try await Temporary.builtKernel(files)
        var limits = RunLimits()
        limits.bootSeconds = seconds
        var list = Checklist()
        let trial = try #require(try await list.buildAndBoot(tree.path, limits: limits))
        try #require(!list.hasFailed, "\(list.checks)")
        return (tree, trial, limits)
    }

    private func checks(
        demand: BootDemand, before: Set<Machine.Path> = [.pvh], seconds: Double = 20,
        _ edits: (inout [String: String]) -> Void = { _ in }
    ) async throws -> (check: Check, boots: [BootResult]) {
        let (tree, trial, limits) = try await trial(seconds: seconds, edits)
        var list = Checklist()
        let matrix = BootMatrix(tree: tree.path, trial: trial, before: before, limits: limits)
        let boots = try await list.checkBoots(matrix, demand: demand)
        return (list.checks[0], boots)
    }

    private func named(_ names: String...) throws -> BootDemand {
        .named(try names.map { try #require(Machine(named: $0)) })
    }

    @Test func everyPathIsBooted() async throws {
        let (check, boots) = try await checks(demand: .available)
        #expect(check.status == .passed, "\(check.detail) \(check.evidence)")
        #expect(boots.map(\.name) == ["pvh", "pvh-smp4", "pvh-64m", "pvh-4g", "disk", "iso"])
        #expect(boots.dropLast().allSatisfy { $0.outcome == .passed && $0.seconds > 0 })
        if let missing = Tools.missingForGRUB {
            #expect(boots[5] == BootResult(name: "iso", outcome: .skipped, detail: missing.description))
            print("not booted: the CD, since \(missing)")
        } else {
            #expect(boots[5].outcome == .passed)
        }
    }

    @Test func theDiskIsBootedOnEveryMachine() async throws {
        let (check, boots) = try await checks(demand: try named("disk-64m", "disk-smp4-4g"))
        #expect(check.status == .passed, "\(check.detail) \(check.evidence)")
        #expect(boots.map(\.name) == ["pvh", "disk-64m", "disk-smp4-4g"])
    }

    @Test func aPathThatFailsIsNamed() async throws {
        let (check, boots) = try await checks(demand: try named("pvh-smp4", "disk")) { files in
            let loader = files["boot/disk/loader.asm"]!
            files["boot/disk/loader.asm"] = loader.replacing("console=com1 auton", with: "console=com1")
        }
        #expect(check.status == .failed)
        #expect(check.detail == "disk: 1 test failed: paths.command_line")
        #expect(check.evidence.prefix(2) == ["disk: 1 test failed: paths.command_line", "  not ok: paths.command_line"])
        #expect(boots.map(\.outcome) == [.passed, .passed, .failed])
    }

    /// It passes where the gate looks on first, and knows the other machines by their number of processors.
    @Test(arguments: ["pvh-smp4", "disk-smp4"]) func whoMeddlesOnOneMachineOnly(name: String) async throws {
        let (check, _) = try await checks(demand: try named("pvh-64m", name)) { files in
            files["tests/meddles.c"] = Scaffold.hostile(
                """
                KTEST(zz, meddles) {
                \tvolatile char *p = (volatile char *)&ktest_fail;
                \tuint8_t others = 0x5f;
                \t__asm__ volatile("outb %0, $0x70; inb $0x71, %0" : "+a"(others));
                \tif (others == 3) *p = *p;
                }
                """)
        }
        let detail = "\(name): ktest_zz__meddles writes to what is the harness's, or constant, at "
        #expect(check.detail.hasPrefix(detail), "\(check.detail)")
    }

    @Test func aDiskThatDoesNotBoot() async throws {
        let (check, _) = try await checks(demand: try named("disk"), seconds: 3) { files in
            files["boot/disk/mbr.asm"] = files["boot/disk/mbr.asm"]!.replacing("0xAA55", with: "0xAA56")
        }
        #expect(check.detail == "disk: nothing printed within 3 s")
    }

    /// The loader's read fails, and says so where the console is.
    @Test func aDiskThatCannotBeRead() async throws {
        let (check, _) = try await checks(demand: try named("disk"), seconds: 3) { files in
            let loader = files["boot/disk/loader.asm"]!
            files["boot/disk/loader.asm"] = loader.replacing("dq KERNEL_SECTOR", with: "dq 1 << 40")
        }
        #expect(check.detail == "disk: hang before the first test after 3 s")
        #expect(check.evidence.contains { $0.hasPrefix("    disk: error ") })
    }

    @Test(.enabled(if: Tools.missingForGRUB == nil)) func aHeaderThatGRUBRefuses() async throws {
        let (check, _) = try await checks(demand: try named("iso"), seconds: 3) { files in
            files["mm/multiboot2.asm"] = files["mm/multiboot2.asm"]!.replacing("\tdd -(MB2_MAGIC", with: "\tdd 1-(MB2_MAGIC")
        }
        #expect(check.detail == "iso: nothing printed within 3 s")
    }

    /// A test that passes by itself is not skipped on another machine.
    @Test func aTestThatIsSkippedElsewhere() async throws {
        let (check, _) = try await checks(demand: try named("pvh-smp4")) { files in
            files["tests/alone.c"] = """
                #include "harness.h"
                KTEST(demo, alone)
                {
                	uint32_t a = 1, b, c, d;

                	__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
                	if ((b >> 16 & 255) > 1)
                		KSKIP("not alone");
                	KASSERT_EQ(1 + 1, 2);
                }

                """
        }
        #expect(check.detail == "pvh-smp4: demo.alone was skipped, and passes by pvh")
    }

    /// What the tree does not have yet is no fault of its.
    @Test func pathsThatTheTreeHasNotYet() async throws {
        let (tree, trial, limits) = try await trial { $0 = [:] }
        let skipped = [
            BootResult(name: "disk", outcome: .skipped, detail: "the tree has no boot/disk sources"),
            BootResult(name: "iso", outcome: .skipped, detail: "the tree has no Multiboot2 header"),
        ]
        var matrix = BootMatrix(tree: tree.path, trial: trial, before: [.pvh], limits: limits)
        var list = Checklist()
        #expect(try await list.checkBoots(matrix, demand: .available).suffix(2) == skipped[...])
        #expect(try await list.checkBoots(matrix, demand: .named([Machine()])).map(\.name) == ["pvh"])
        // Who asks for it by name means it, and what could be booted once is not lost.
        #expect(
            try await list.checkBoots(matrix, demand: try named("disk", "iso")).map(\.outcome) == [.passed, .failed, .failed])
        matrix.before = [.pvh, .disk]
        _ = try await list.checkBoots(matrix, demand: .available)
        #expect(list.checks.map(\.status) == [.passed, .skipped, .failed, .failed])
        #expect(list.checks.last?.detail == "disk: the tree has no boot/disk sources")
        #expect(
            list.checks[0].detail
                == "pvh-smp4, pvh-64m, pvh-4g; disk skipped: the tree has no boot/disk sources; iso skipped: the tree has no Multiboot2 header"
        )
    }

    @Test func anImageThatCannotBeMade() async throws {
        let kernel = try Temporary.kernel(try Scaffold.kernel(named: "disk").merging(["boot/disk/mbr.asm": "hlt\n"]) { $1 })
        let result = try await Build.run(in: kernel.path)
        #expect(!result.succeeded)
        #expect(result.diagnostics.contains("error: boot/disk/mbr.asm does not make 512 bytes"))
        try kernel.write(["boot/disk/mbr.asm": "times 512 nop\n", "boot/disk/loader.asm": "times 32257 nop\n"])
        #expect(
            try await Build.run(in: kernel.path).diagnostics.contains("error: boot/disk/loader.asm makes more than 32256 bytes"))
        try Files.removeTree(kernel.path.appending("boot/disk/loader.asm"))
        #expect(try await Build.run(in: kernel.path).failure == "make ended with status 2")
    }

    /// Now and then it fails by the clock. A boot of ours that is beside it may be why; when they are over none is.
    @Test func testsThatFailBesideAnotherBootAreBootedOnceMore() async throws {
        let tree = try await Temporary.builtKernel(["tests/hostile.c": Scaffold.hostile(OthersShareTests.byChance)])
        var said = ""
        for _ in 0..<50 where !said.contains("second go") {
            var list = Checklist()
            let trial = try await list.buildAndBoot(tree.path, limits: RunLimits())
            guard let trial, !list.hasFailed else { continue }
            let matrix = BootMatrix(tree: tree.path, trial: trial, before: [.pvh], limits: RunLimits())
            let boots = try await matrix.boots(try named("pvh-64m", "pvh-4g")).map(\.result)
            said = boots.filter { $0.outcome == .passed }.map(\.detail).joined()
        }
        #expect(said.contains("at the second go, "), "\(said)")
        #expect(said.hasSuffix("; at first: 1 test failed: zz.clock"), "\(said)")
    }
}
