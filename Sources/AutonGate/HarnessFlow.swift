import AutonKit
import SystemPackage

/// Sees from outside of the machine that the processor comes into the harness and the acceptance tests where it may only: at a
/// function that is for others, behind a call that was made, where it was interrupted; and that each acceptance test that was called
/// has come to its end, so that what it calls cannot go past its assertions. A plugin of QEMU's follows it (data/flow.c).
///
/// What it does not see: machines with several processors; the tests of agents, which are not to be believed anyway; what an interrupt, or a
/// breakpoint, changes in registers and on the stack before it goes back; a symbol of assembly that says that a function is where none is.
struct HarnessFlow: Sendable {
    static var source: FilePath { Share.data("flow.c") }
    /// The compiled plugin's name, that of the file that it reads, and that of the one that it writes.
    static let plugin = "flow.so", functions = "functions", output = "flow"

    /// A function of the harness's or of the acceptance tests'.
    private struct Function {
        /// As the plugin has them.
        enum Kind: Int { case closed, open, label, test }

        var address: UInt64
        var size: UInt64
        /// Where the function begins that it is a part of.
        var owner: UInt64
        var kind: Kind

        var line: String {
            [address, size, owner].map { String($0, radix: 16) }.joined(separator: " ") + " \(kind.rawValue)\n"
        }
    }

    /// What the plugin is told of the functions.
    let table: String
    /// Those that are tests and benchmarks.
    private let tests: Set<UInt64>
    private let words: [String]
    private let names: [(address: UInt64, name: String)]

    /// Nil if the image does not tell where its harness is.
    init?(_ elf: ELFImage) {
        let code = elf.code
        guard let harness = elf.range("__harness_text_start", "__harness_text_end"),
            let calls = code.first(where: { harness.contains($0.address) && $0.name == "harness_call" })?.address,
            let jump = elf.address(of: "harness_calls")
        else { return nil }
        let functions = elf.functions, globals = elf.globals, typed = Set(functions.map(\.address))
        // Its labels are places within its functions.
        let ofHarness = Self.functions(in: harness, of: functions) { _, name in
            globals.contains(name) && HarnessNames.isForOthers(name) ? .open : .closed
        }
        // What an acceptance test has is its own to hand on: a thread's function, a handler, a table of stubs.
        let acceptance = elf.range("__acceptance_text_start", "__acceptance_text_end").map {
            Self.functions(in: $0, of: code) { address, _ in typed.contains(address) ? .open : .label }
        }
        let all = (ofHarness + (acceptance ?? [])).sorted { $0.address < $1.address }
        table = all.map(\.line).joined()
        tests = Set(all.filter { $0.kind == .test }.map(\.address))
        words = [("calls", calls), ("jump", jump)].map { "\($0)=\(String($1, radix: 16))" }
        names = code
    }

    /// From each symbol up to the next; what the compiler put aside (`f.cold`) is a part of the function, and called by nobody.
    private static func functions(
        in range: Range<UInt64>, of code: [(address: UInt64, name: String)], kind: (UInt64, String) -> Function.Kind
    ) -> [Function] {
        let names = Dictionary(grouping: code.filter { range.contains($0.address) }, by: \.address).mapValues { $0.map(\.name) }
        let starts = Set(names.keys).union([range.lowerBound]).sorted()
        let ends = starts.dropFirst() + [range.upperBound]
        return zip(starts, ends).map { start, end in
            let names = names[start] ?? []
            var function = Function(address: start, size: end - start, owner: start, kind: .closed)
            if let cold = names.first(where: { $0.hasSuffix(".cold") }) {
                function.owner = code.first { range.contains($0.address) && $0.name == cold.dropLast(5) }?.address ?? start
            } else if names.contains(where: { ($0.hasPrefix("ktest_") || $0.hasPrefix("kbench_")) && $0.contains("__") }) {
                function.kind = .test
            } else {
                function.kind = names.map { kind(start, $0) }.max { $0.rawValue < $1.rawValue } ?? .closed
            }
            return function
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
    ///
    /// - Parameter called: the functions that the harness was seen to call, each as often as it did.
    func findings(_ output: [UInt8], called: [UInt64]) -> [String] {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        guard lines.last == "end" else { return ["who followed the processor did not come to its end"] }
        var done: [UInt64: Int] = [:], findings: [String] = []
        for line in lines.dropLast() {
            let words = line.split(separator: " "), pc = words.count > 1 ? UInt64(words[1], radix: 16) ?? 0 : 0
            if words.first == "done" {
                done[pc, default: 0] += 1
            } else {
                findings.append("other code goes into the midst of \(Profile.function(at: pc, in: names))")
            }
        }
        for test in called where tests.contains(test) {
            done[test, default: 0] -= 1
            if done[test]! < 0 {
                findings.append("\(Profile.function(at: test, in: names)) was left before it had come to its end")
            }
        }
        return findings
    }
}
