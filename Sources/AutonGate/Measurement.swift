import AutonKit
import AutonMessages
import SystemPackage

/// What a kernel's tests and benchmarks take in instructions: booted twice at once where time is counted in them, and
/// believed if both boots say the same of everything.
package struct Measurement: Sendable {
    package var counts: InstructionCounts
    /// Nil if the counts are to be believed; else one line that says why not.
    package var failure: String?
    package var evidence: [String]
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
        let counting = boot
        boot.oversight = try Oversight(of: image, on: boot.machine)
        let watched = boot
        async let first = counting.run()
        async let second = watched.run()
        return Measurement(try await first, try await second)
    }

    init(_ first: BootReport, _ second: BootReport) {
        counts = first.counters.counts
        evidence = []
        intrusion = second.intrusion
        let boots = [first, second]
        if let bad = boots.first(where: { $0.failure != nil }) {
            failure = "where time is counted in instructions: \(bad.failure ?? "")"
            evidence = bad.evidence
        } else if let problem = boots.flatMap(\.uncounted).first {
            failure = "the counts are not to be believed: \(problem)"
        } else {
            evidence = Self.differences(first.counters.counts, second.counters.counts)
            failure = evidence.first.map {
                "not the same twice: \($0)" + (evidence.count > 1 ? ", and \(evidence.count - 1) more" : "")
            }
        }
    }

    private static func differences(_ first: InstructionCounts, _ second: InstructionCounts) -> [String] {
        let one = first.tests + first.benches, two = second.tests + second.benches
        // They went the same way as long as the names agree; from there on nothing can be compared.
        let different = zip(one, two).filter { $0 != $1 }.map { a, b in
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
