import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

/// Who sent what stands on COM2.
@Suite struct WitnessTests {
    @Test(arguments: [
        ("ok 1 a\n", "ok 1 a\n", nil), ("", "", nil),
        // Seen again, since QEMU was interrupted there.
        ("ok 1 a\n", "okkk 1 a\n\n", nil), ("aab", "aaab", nil),
        // Somebody else's, at the beginning, in the middle, at the end, or in place of the harness's.
        ("xok", "ok", 0), ("oxk", "ok", 1), ("okx", "ok", 2), ("ok 1 a\n", "not ok 1 a\n", 0), ("aaa", "aa", 2),
        // Sent, and kept from arriving.
        ("ok", "oak", 1), ("o", "ok", 1), ("", "ok", 0), ("ok", "ook and more", 2),
    ])
    func difference(report: String, seen: String, expected: Int?) {
        #expect(Witness.difference(of: Array(report.utf8), from: Array(seen.utf8)) == expected)
    }

    @Test func bytesAreTheLowestOfTheRegister() {
        let log = """
            RAX=000000000000006f RBX=ffffffffffffffff RCX=0000000000000041
            RIP=ffffffff80105001
            RAX=ffffffffffffff6b RBX=0000000000000000
            RAX=00
            """
        #expect(Witness.seen(in: Array(log.utf8)) == Array("ok".utf8))
        #expect(Witness.seen(in: []) == [])
    }

    private func origin(_ code: String) async throws -> String? {
        let kernel = try Temporary.kernel(["tests/demo.c": Scaffold.hostile(code)])
        let measurement = try await Measurement.take(of: try await Build.run(in: kernel.path).image, seconds: 10)
        return measurement.foreign
    }

    @Test func theHarnessIsSeenToSendItAll() async throws {
        #expect(try await origin("KTEST(demo, one) { KASSERT_EQ(1 + 1, 2); ktest_note(\"n\", 7); }") == nil)
        #expect(try await origin("KTEST(demo, two) { KASSERT_EQ(1, 2); }") == nil)
    }

    /// One byte is enough; nor does it help to turn the port off while the harness sends.
    @Test(arguments: [
        "KTEST(demo, one) { outb(COM2, '\\n'); }",
        "KTEST(demo, one) { print(COM2, \"# a word of my own\\n\"); }",
        "KTEST(demo, a) { outb(COM2 + 4, 0x13); } KTEST(demo, b) { outb(COM2 + 4, 3); }",
    ])
    func whatTheHarnessDidNotSend(code: String) async throws {
        #expect(try await origin(code)?.hasPrefix("the report is not what the harness sent, from byte ") == true)
    }

    @Test func aHarnessThatDoesNotTell() async throws {
        let kernel = try Temporary.kernel(["tests/demo.c": Scaffold.hostile("KTEST(demo, one) { }")])
        let file = kernel.path.appending("harness/report.c")
        try Files.write(file, Array(try Files.readText(file).replacing("report_sent", with: "report_gone").utf8), sync: false)
        let measurement = try await Measurement.take(of: try await Build.run(in: kernel.path).image, seconds: 10)
        #expect(measurement.foreign == "the harness does not tell where it sends from")
    }
}
