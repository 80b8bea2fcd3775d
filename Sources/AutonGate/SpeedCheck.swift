import AutonKit
import AutonMessages

extension InstructionCounts {
    /// The same with the base's counts beside them.
    func compared(with base: InstructionCounts) -> InstructionCounts {
        func compare(_ counts: [Count], _ base: [Count]) -> [Count] {
            let known = Dictionary(base.map { ($0.name, $0.instructions) }, uniquingKeysWith: { first, _ in first })
            return counts.map { count in
                var count = count
                count.base = known[count.name]
                return count
            }
        }
        return InstructionCounts(
            tests: compare(tests, base.tests), benches: compare(benches, base.benches), figures: figures)
    }
}

extension InstructionCounts.Count {
    /// Whether it takes more than `share` per cent more than on the base.
    fileprivate func isSlower(by share: Double) -> Bool {
        base.map { Double(instructions) > Double($0) * (1 + share / 100) } ?? false
    }

    /// `lib.memcpy: 55,000 instructions, 48,000 on the base (+14.6%)`
    fileprivate var inWords: String {
        guard let base else { return "\(name): \(Text.grouped(instructions)) instructions" }
        return
            "\(name): \(Text.grouped(instructions)) instructions, \(Text.grouped(base)) on the base (\(Text.change(instructions, base)))"
    }
}

extension Checklist {
    /// No benchmark takes more than `share` per cent longer than on the base unless its author said why, and none is gone.
    /// Whether the reason is good is the reviewer's to say.
    ///
    /// Tests are compared too, but may take as long as they like.
    mutating func checkSpeed(_ counts: InstructionCounts, base: BaseResult, share: Double, justified: [Justification]) {
        guard let record = base.record else {
            return skip(CheckName.speed, because: "the base is no measure: \(base.failure ?? "")")
        }
        let counts = counts.compared(with: record.counts)
        let names = Set(counts.benches.map(\.name))
        let gone = record.counts.benches.filter { !names.contains($0.name) }.map { "\($0.name): the benchmark is gone" }
        let nothing = counts.benches.filter { $0.instructions == 0 }.map { "\($0.name): the benchmark takes no instructions" }
        let slower = counts.benches.filter { $0.isSlower(by: share) }
        let reasons = Dictionary(justified.map { ($0.bench, $0.why) }, uniquingKeysWith: { "\($0); \($1)" })
        let faults =
            gone + nothing + slower.filter { reasons[$0.name] == nil }.map { "\($0.inWords), over \(Text.number(share))%" }
        let taken = slower.compactMap { count in
            reasons[count.name].map { "\(count.inWords), justified: \(Text.lines($0).joined(separator: " "))" }
        }
        add(
            CheckName.speed,
            failure: faults.first.map { faults.count > 1 ? "\($0), and \(faults.count - 1) more" : $0 },
            passed: ([Self.summary(counts)] + taken).joined(separator: "; "), evidence: faults)
    }

    private static func summary(_ counts: InstructionCounts) -> String {
        func sum(_ counts: [InstructionCounts.Count], _ noun: String) -> String {
            // Sums of what a kernel claims may not fit.
            let both = counts.filter { $0.base != nil }
            let now = both.reduce(0.0) { $0 + Double($1.instructions) }, before = both.reduce(0.0) { $0 + Double($1.base ?? 0) }
            return Text.count(both.count, noun) + (before > 0 ? " \(Text.change(now, before))" : "")
        }
        return "\(sum(counts.benches, "benchmark")), \(sum(counts.tests, "test"))"
    }
}
