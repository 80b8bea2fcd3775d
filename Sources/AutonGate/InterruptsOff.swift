import AutonKit
import AutonMessages
import SystemPackage

/// Sees from outside of the machine how long a kernel takes no interrupts while a test or benchmark runs: a plugin of QEMU's looks at
/// the processor's flags (data/masked.c).
///
/// What tells nothing: machines with several processors, and a QEMU whose processor is not laid out as the plugin expects.
package struct InterruptsOff: Sendable {
    static var source: FilePath { Share.data("masked.c") }
    /// The compiled plugin's name, and that of the file that it writes.
    static let plugin = "masked.so", output = "masked"

    /// The harness's instruction that calls a test.
    private let called: UInt64
    private let names: [(address: UInt64, name: String)]

    /// Nil if the image does not tell where its harness calls a test, or the machine has several processors.
    package init?(of kernel: FilePath, on machine: Machine) throws {
        guard machine.processors == 1, let elf = ELFImage(try Files.read(kernel)),
            let called = elf.address(of: "harness_called")
        else { return nil }
        self.called = called
        names = elf.code
    }

    /// What QEMU needs to have for it, in the directory of the boot.
    func prepare(_ sandbox: Sandbox) async throws { try await QEMUPlugin.compile(Self.source, to: sandbox.directory) }

    /// What QEMU is to be told.
    ///
    /// - Parameter inside: where QEMU finds a file of the boot's directory.
    func arguments(_ inside: (String) -> String) -> [String] {
        ["-plugin", "file=\(inside(Self.plugin)),to=\(inside(Self.output)),called=\(String(called, radix: 16))"]
    }

    /// The longest time with interrupts off of each test and benchmark that had any, by name; empty if the plugin saw that it cannot tell.
    func longest(_ output: [UInt8]) -> [String: InstructionCounts.Masked] {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map { $0.split(separator: " ") }
        guard let last = lines.last, last.count == 3, last[0] == "end", last[1] != "0", last[2] == "0" else { return [:] }
        var longest: [String: InstructionCounts.Masked] = [:]
        for words in lines.dropLast() where words.count == 4 {
            let places = [words[0], words[2], words[3]].map { Profile.function(at: UInt64($0, radix: 16) ?? 0, in: names) }
            guard let name = Self.test(places[0]), let instructions = Int(words[1]), instructions > 0 else { continue }
            let masked = InstructionCounts.Masked(instructions: instructions, off: places[1], on: places[2])
            // A benchmark is called more than once.
            if masked.instructions > longest[name]?.instructions ?? 0 { longest[name] = masked }
        }
        return longest
    }

    /// `mm.slab_smp` of `ktest_mm__slab_smp`.
    private static func test(_ symbol: String) -> String? {
        (symbol.dropping("ktest_") ?? symbol.dropping("kbench_"))?.replacing("__", with: ".", maxReplacements: 1)
    }
}
