import AutonKit
import SystemPackage

/// Sees from outside of the machine that the processor comes into the harness and the acceptance tests where it may only: at a
/// function that is for others, behind a call that was made, where it was interrupted; and that an acceptance test has come to its
/// end when its call comes back, so that what it calls cannot go past its assertions. A plugin of QEMU's follows it (data/flow.c).
///
/// What it does not see: machines with several processors; the tests of agents, which are not to be believed anyway.
struct HarnessFlow: Sendable {
    static var source: FilePath { Share.data("flow.c") }
    /// The compiled plugin's name, that of the file that it reads, and that of the one that it writes.
    static let plugin = "flow.so", functions = "functions", output = "flow"

    /// A function of the harness's or of the acceptance tests'.
    private struct Function {
        var address: UInt64
        var size: UInt64
        /// Where the function begins that it is a part of.
        var owner: UInt64
        /// Whether other code may call it.
        var isOpen: Bool

        var line: String {
            [address, size, owner].map { String($0, radix: 16) }.joined(separator: " ") + (isOpen ? " 1\n" : " 0\n")
        }
    }

    /// What the plugin is told of the functions.
    let table: String
    private let words: [String]
    private let names: [(address: UInt64, name: String)]

    /// Nil if the image does not tell where its harness is.
    init?(_ elf: ELFImage) {
        let code = elf.code
        guard let harness = elf.range("__harness_text_start", "__harness_text_end"),
            let calls = code.first(where: { harness.contains($0.address) && $0.name == "harness_call" })?.address,
            let jump = elf.address(of: "harness_calls")
        else { return nil }
        let globals = elf.globals
        // Its labels are places within its functions.
        let ofHarness = Self.functions(in: harness, of: elf.functions) {
            globals.contains($0) && !HarnessNames.looksPrivate($0)
        }
        // What an acceptance test has is its own to hand on: a thread's function, a handler.
        let acceptance = elf.range("__acceptance_text_start", "__acceptance_text_end").map {
            Self.functions(in: $0, of: code) { _ in true }
        }
        table = (ofHarness + (acceptance ?? [])).sorted { $0.address < $1.address }.map(\.line).joined()
        words = [("calls", calls), ("jump", jump)].map { "\($0)=\(String($1, radix: 16))" }
        names = code
    }

    /// From each symbol up to the next; what the compiler put aside (`f.cold`) is a part of the function, and called by nobody.
    private static func functions(
        in range: Range<UInt64>, of code: [(address: UInt64, name: String)], isOpen: (String) -> Bool
    ) -> [Function] {
        let names = Dictionary(grouping: code.filter { range.contains($0.address) }, by: \.address).mapValues { $0.map(\.name) }
        let starts = Set(names.keys).union([range.lowerBound]).sorted()
        let ends = starts.dropFirst() + [range.upperBound]
        return zip(starts, ends).map { start, end in
            let names = names[start] ?? [], cold = names.first { $0.hasSuffix(".cold") }
            let whole = cold.flatMap { cold in code.first { range.contains($0.address) && $0.name == cold.dropLast(5) } }
            return Function(
                address: start, size: end - start, owner: whole?.address ?? start,
                isOpen: cold == nil && names.contains(where: isOpen))
        }
    }

    /// What QEMU is to be told.
    ///
    /// - Parameter inside: where QEMU finds a file of the boot's directory.
    func arguments(_ inside: (String) -> String) -> [String] {
        let files = [("file", Self.plugin), ("to", Self.output), ("functions", Self.functions)].map { "\($0)=\(inside($1))" }
        return ["-plugin", (files + words).joined(separator: ",")]
    }

    /// What the plugin has seen, in words; empty if all was well to the end.
    func findings(_ output: [UInt8]) -> [String] {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        let findings = lines.dropLast(lines.last == "end" ? 1 : 0).map { line in
            let words = line.split(separator: " "), pc = words.count > 1 ? UInt64(words[1], radix: 16) : nil
            return words.first == "skipped"
                ? "a test was left before it had come to its end"
                : "other code goes into the midst of \(pc.map { Profile.function(at: $0, in: names) } ?? "the harness")"
        }
        return findings.isEmpty && lines.last != "end" ? ["who followed the processor did not come to its end"] : findings
    }
}
