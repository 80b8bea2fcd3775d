import AutonKit
import AutonMessages
import SystemPackage

/// Sees from outside of the machine, in a boot in which instructions are counted, how long a kernel takes no interrupts while a test or benchmark runs, and
/// that nobody but the harness and the acceptance tests uses the harness's ports, however they are spelled: a plugin of QEMU's looks at the
/// processor's state (data/processor.c).
///
/// What tells nothing: machines with several processors, and a QEMU whose processor is not laid out as the plugin expects. What it does not see: an
/// access at the end of which an interrupt comes; what code does only where it finds that instructions are not counted.
package struct ProcessorWatch: Sendable {
    static var source: FilePath { Share.data("processor.c") }
    /// The compiled plugin's name, and that of the file that it writes.
    static let plugin = "processor.so", output = "processor"
    /// Where the firmware is, which is told by one of the harness's ports what to load.
    private static let firmware = "f0000+10000"
    /// The console's, which the harness has until there is a kernel's.
    private static let shared = "3f8+8"

    /// What the plugin has seen.
    struct Findings {
        /// The longest time with interrupts off of each test and benchmark that had any, by name.
        var masked: [String: InstructionCounts.Masked] = [:]
        /// The same of what was executed before the first of them; 0 if there was none.
        var maskedAtStart: Int?
        /// Who used the harness's ports, in words.
        var tampering: [String] = []
    }

    private let words: [String]
    private let names: [(address: UInt64, name: String)]

    /// Nil if the image does not tell where its harness is, or the machine has several processors.
    package init?(of kernel: FilePath, on machine: Machine) throws {
        guard machine.processors == 1, let elf = ELFImage(try Files.read(kernel)),
            let called = elf.address(of: "harness_called"),
            let harness = elf.range("__harness_text_start", "__harness_text_end")
        else { return nil }
        let acceptance =
            elf.range("__acceptance_text_start", "__acceptance_text_end").map { ["trusted=\(QEMUPlugin.words($0))"] } ?? []
        let ports = HarnessPorts.ranges.map { "ports=\(QEMUPlugin.words(UInt64($0.lowerBound)..<UInt64($0.upperBound)))" }
        words =
            [
                "called=\(String(called, radix: 16))", "own=\(QEMUPlugin.words(harness))", "trusted=\(Self.firmware)",
                "shared=\(Self.shared)",
            ] + acceptance + ports
        names = elf.code
    }

    /// What QEMU needs to have for it, in the directory of the boot.
    func prepare(_ sandbox: Sandbox) async throws { try await QEMUPlugin.compile(Self.source, to: sandbox.directory) }

    /// What QEMU is to be told.
    ///
    /// - Parameter inside: where QEMU finds a file of the boot's directory.
    func arguments(_ inside: (String) -> String) -> [String] {
        ["-plugin", (["file=\(inside(Self.plugin))", "to=\(inside(Self.output))"] + words).joined(separator: ",")]
    }

    /// Nothing if the plugin saw that it cannot tell.
    func findings(_ output: [UInt8]) -> Findings {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map { $0.split(separator: " ") }
        guard let last = lines.last, last.count == 3, last[0] == "end", last[1] != "0", last[2] == "0" else { return Findings() }
        var findings = Findings()
        for words in lines.dropLast() {
            switch (words[0], words.count) {
            case ("masked", 5): add(words.dropFirst().map(String.init), to: &findings)
            case ("port", 3): findings.tampering.append("\(function(words[1])) uses the harness's port 0x\(words[2])")
            default: break
            }
        }
        return findings
    }

    private func add(_ words: [String], to findings: inout Findings) {
        guard let instructions = Int(words[1]) else { return }
        if words[0] == "0" { findings.maskedAtStart = instructions }
        guard let name = Self.test(function(words[0])), instructions > 0 else { return }
        // A benchmark is called more than once.
        guard instructions > findings.masked[name]?.instructions ?? 0 else { return }
        findings.masked[name] = .init(instructions: instructions, off: function(words[2]), on: function(words[3]))
    }

    private func function(_ address: some StringProtocol) -> String {
        Profile.function(at: UInt64(address, radix: 16) ?? 0, in: names)
    }

    /// `mm.slab_smp` of `ktest_mm__slab_smp`.
    private static func test(_ symbol: String) -> String? {
        (symbol.dropping("ktest_") ?? symbol.dropping("kbench_"))?.replacing("__", with: ".", maxReplacements: 1)
    }
}
