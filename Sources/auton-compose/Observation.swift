import AutonGate
import AutonMessages

/// What one boot of one tree said.
struct Observation: Sendable, Equatable, Codable {
    var tests: [TestResult] = []
    /// None where time is not counted in instructions.
    var counts = InstructionCounts()
    /// Of the image.
    var sections: [SectionSize] = []
    /// Empty if the boot ended as it should; else one line: how it did end, or why there was none.
    var failure = ""
    /// Of the second go of a boot by the clock, which went well: why there was one, and what failed at first.
    var excuse: String?
    /// Where it ended before it came to its end: a test, a benchmark, or `boot`.
    var endedIn: String?
    /// What the kernel printed.
    var console: [String] = []

    /// Those with a result, and the benchmarks.
    var names: [String] { tests.map(\.name) + counts.benches.map(\.name) }

    /// Of its tests and benchmarks, sorted.
    var suites: [String] { Set(tests.map(\.suite) + counts.benches.map(\.suite)).sorted() }

    /// Nil if there is no such test or benchmark, or none of that name was come to. Of a benchmark it is no more than that it came to
    /// its end.
    func outcome(of test: String) -> TestResult.Outcome? {
        if endedIn == test { return .missing }
        return tests.first { $0.name == test }?.outcome ?? (counts.benches.contains { $0.name == test } ? .ok : nil)
    }

    /// What it says of a test that others have: a test that is gone is as bad as one without a result, but of one that was
    /// not come to nothing is known.
    func verdict(on test: String) -> TestResult.Outcome? { outcome(of: test) ?? (endedIn == nil ? .missing : nil) }

    func diagnostics(of test: String) -> [String] {
        let said = tests.first { $0.name == test }?.diagnostics ?? []
        return failure.isEmpty ? said : [failure] + said
    }

    /// Instructions by test, or by benchmark.
    func instructions(ofBenches: Bool) -> [String: Int] {
        let counts = ofBenches ? counts.benches : counts.tests
        return Dictionary(counts.map { ($0.name, $0.instructions) }, uniquingKeysWith: { first, _ in first })
    }

    /// The longest time with interrupts off, in instructions, by test and benchmark.
    var masked: [String: Int] {
        let all = (counts.tests + counts.benches).map { ($0.name, $0.masked?.instructions ?? 0) }
        return Dictionary(all, uniquingKeysWith: { first, _ in first })
    }

    /// How large the image is by section, and what the booted kernel said of itself.
    var figures: [Figure] {
        sections.map { Figure(name: "image\($0.name)", value: $0.bytes) } + counts.figures
    }

    func figure(_ name: String) -> Int? { numbers[name] }

    /// The figures by name.
    var numbers: [String: Int] {
        Dictionary(figures.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    }
}
