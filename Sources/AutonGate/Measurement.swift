import AutonKit
import AutonMessages
import SystemPackage

/// What a kernel's tests and benchmarks take in instructions: booted twice at once where time is counted in them, and
/// believed if both boots say the same of everything.
///
/// If they do not, they are asked once more: what wakes QEMU's main loop just when a processor halts (`HaltOrder`) has an interrupt come some instructions
/// later. What is the kernel's own doing, it does again.
package struct Measurement: Sendable {
    package var counts: InstructionCounts
    /// Nil if the counts are to be believed; else one line that says why not.
    package var failure: String?
    package var evidence: [String]
    /// The first difference between two boots that were followed by two equal ones; else nil.
    package var doubt: String?
    /// Nil if it was seen that the harness sent the whole report itself and was left alone; else one line that says what was not so.
    package var intrusion: String?

    /// - Parameters:
    ///   - machine: where to boot it; its time is counted in any case.
    ///   - suites: the suites of tests to run; empty for all.
    ///   - benches: the suites of benchmarks to run; empty for all.
    ///   - seconds: wall time until a boot counts as hung.
    package static func take(
        of image: FilePath, on machine: Machine = Machine(), suites: [String] = [], benches: [String] = [], seconds: Double
    ) async throws -> Measurement {
        var boot = Boot(image: image, machine: machine, suites: suites, seconds: seconds)
        boot.machine.countsInstructions = true
        boot.benches = benches
        boot.processorWatch = try ProcessorWatch(of: image, on: boot.machine)
        let counting = boot
        boot.processorWatch = nil
        boot.oversight = try Oversight(of: image, on: boot.machine)
        let watched = boot
        let twice = { @Sendable in
            async let first = counting.run()
            async let second = watched.run()
            return Measurement(try await first, try await second)
        }
        let once = try await twice()
        guard let doubt = once.doubt, once.intrusion == nil else { return once }
        var again = try await twice()
        guard again.failure == nil || again.intrusion != nil else { return once }
        again.doubt = doubt
        return again
    }

    init(_ first: BootReport, _ second: BootReport) {
        counts = first.counters.counts
        evidence = []
        intrusion = second.intrusion ?? first.tampering.first
        let boots = [first, second]
        if let bad = boots.first(where: { $0.failure != nil }) {
            failure = "where time is counted in instructions: \(bad.failure ?? "")"
            evidence = bad.evidence
        } else if let problem = boots.flatMap(\.uncounted).first {
            failure = "the counts are not to be believed: \(problem)"
        } else {
            evidence = Self.differences(first.counters.counts, second.counters.counts)
            doubt = evidence.first
            failure = evidence.first.map {
                "not the same twice: \($0)" + (evidence.count > 1 ? ", and \(evidence.count - 1) more" : "")
            }
        }
    }

    private static func differences(_ first: InstructionCounts, _ second: InstructionCounts) -> [String] {
        let one = first.tests + first.benches, two = second.tests + second.benches
        // They went the same way as long as the names agree; from there on nothing can be compared.
        let different = zip(one, two).filter { $0.name != $1.name || $0.instructions != $1.instructions }.map { a, b in
            a.name == b.name
                ? "\(a.name) took \(a.instructions) instructions, then \(b.instructions)"
                : "\(a.name) was followed by other than \(b.name)"
        }
        return different.isEmpty && one.count != two.count ? ["\(one.count) counts, then \(two.count)"] : Text.head(different, 20)
    }
}

extension BootReport {
    /// What is wrong with its counts.
    fileprivate var uncounted: [String] {
        let counted = Set(counters.counts.tests.map(\.name)),
            finished = report.tests.filter { $0.outcome != .missing }.map(\.name)
        let absent = finished.filter { !counted.contains($0) }
        return counters.problems + (counters.running.map { ["no count for \($0)"] } ?? [])
            + (absent.isEmpty ? [] : ["no count for \(Text.list(absent))"])
    }
}
