import AutonMessages
import Testing

@testable import AutonGate

/// The parser against `KTAPOracle`, over tens of thousands of reports that are whole, damaged, cut or made up. Seeds are
/// fixed, and every failure tells its own and the report. Other tests have turns in between, whose clocks run on.
@Suite struct KTAPFuzzTests {
    private static let nonce = "5eed"

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func damagedReports(seed: UInt64) async {
        var random = Random(seed: seed)
        var believed = 0
        for round in 0..<2_000 {
            await Task.yield()
            let sample = Sample(&random, nonce: Self.nonce)
            var bytes = sample.bytes
            for _ in 0...Int.random(in: 0...2, using: &random) { Self.damage(&bytes, &random) }
            let found = check(bytes, "seed \(seed), round \(round)", &random)
            guard let found else { continue }
            believed += 1
            // Damage can make a report worse, as by a line too many that says that a subtest failed, and never better.
            let passed = { (tests: [TestResult]) in Set(tests.filter { $0.outcome == .ok }.map(\.name)) }
            let isNoBetter = passed(found).isSubset(of: passed(sample.results))
            #expect(
                found.map(\.name) == sample.results.map(\.name) && isNoBetter, "seed \(seed), round \(round): \(Self.text(bytes))"
            )
        }
        // Much of the damage is to noise: the test would be none if nothing were believed any more, or all.
        #expect((100...1_000).contains(believed), "seed \(seed): \(believed)")
    }

    /// Lines that count, in any order: near enough to reports that some are.
    @Test(arguments: [5, 6] as [UInt64]) func madeUpReports(seed: UInt64) async {
        var random = Random(seed: seed)
        for round in 0..<2_000 {
            await Task.yield()
            let lines = (0..<Int.random(in: 0...12, using: &random)).map { _ in Self.lines.randomElement(using: &random)! }
            let isFramed = Bool.random(using: &random)
            let frame =
                isFramed ? ["KTAP version 1", "1..\(Int.random(in: 0...3, using: &random))", "# auton nonce \(Self.nonce)"] : []
            let counts = (0..<3).map { _ in Int.random(in: 0...1, using: &random) }
            let end = isFramed ? ["# auton end \(Self.nonce) pass \(counts[0]) fail \(counts[1]) skip \(counts[2])"] : []
            let bytes = Array((frame + lines + end).map { $0 + "\n" }.joined().utf8)
            _ = check(bytes, "seed \(seed), round \(round)", &random)
        }
    }

    @Test func noiseChangesNothing() async {
        var random = Random(seed: 7)
        for round in 0..<1_000 {
            await Task.yield()
            let sample = Sample(&random, nonce: Self.nonce)
            var lines = sample.lines
            for _ in 0..<5 {
                lines.insert(Sample.noise.randomElement(using: &random)!, at: Int.random(in: 0...lines.count, using: &random))
            }
            let ends = ["\n", "\r\n", "\r\r\n"].randomElement(using: &random)!
            let noisy = KTAPReport(parsing: Array(lines.map { $0 + ends }.joined().utf8), nonce: Self.nonce)
            #expect(noisy == KTAPReport(parsing: sample.bytes, nonce: Self.nonce), "round \(round): \(lines)")
            #expect(noisy.problems == [] && Self.bare(noisy.tests) == sample.results, "round \(round): \(lines)")
        }
    }

    /// Whatever byte a report ends at before its own end, it is refused.
    @Test func everyTruncationIsRefused() async {
        var random = Random(seed: 8)
        for _ in 0..<20 {
            await Task.yield()
            let bytes = Sample(&random, nonce: Self.nonce).bytes
            #expect(KTAPReport(parsing: bytes, nonce: Self.nonce).problems == [])
            for length in bytes.indices {
                let report = KTAPReport(parsing: Array(bytes[..<length]), nonce: Self.nonce)
                #expect(!report.problems.isEmpty, "\(length) bytes of \(Self.text(bytes))")
            }
        }
    }

    /// No two reports make one, and no report counts for another boot.
    @Test func twoReportsAndAnothersNonce() {
        var random = Random(seed: 9)
        for _ in 0..<200 {
            let first = Sample(&random, nonce: Self.nonce).bytes, second = Sample(&random, nonce: Self.nonce).bytes
            #expect(!KTAPReport(parsing: first + second, nonce: Self.nonce).problems.isEmpty)
            #expect(!KTAPReport(parsing: first + first, nonce: Self.nonce).problems.isEmpty)
            #expect(!KTAPReport(parsing: first, nonce: "5eee").problems.isEmpty)
        }
    }

    /// Parses in one piece and in many, and compares with the oracle; what the report says if it is believed.
    private func check(_ bytes: [UInt8], _ place: String, _ random: inout Random) -> [TestResult]? {
        let report = KTAPReport(parsing: bytes, nonce: Self.nonce)
        if Int.random(in: 0..<4, using: &random) == 0 {
            var parser = KTAPParser(nonce: Self.nonce)
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix([1, 1, 2, 7, 50].randomElement(using: &random)!)
                parser.read(piece)
                rest = rest[piece.endIndex...]
            }
            #expect(parser.finish() == report, "\(place), in pieces: \(Self.text(bytes))")
        }
        let found = report.problems.isEmpty ? Self.bare(report.tests) : nil
        let expected = KTAPOracle.results(of: bytes, nonce: Self.nonce)
        #expect(found == expected, "\(place): \(report.problems): \(Self.text(bytes))")
        return found
    }

    private static func bare(_ tests: [TestResult]) -> [TestResult] {
        tests.map { TestResult(name: $0.name, outcome: $0.outcome) }
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }

    private static let bytes: [UInt8] = Array("\n\r\0\t #0123456789-.aAkKoO\u{1b}\u{7f}\\".utf8) + [0x80, 0xc3, 0xe2, 0xff]

    private static let lines = [
        "ok 1 a", "ok 1 a", "ok 2 b", "not ok 1 a", "not ok 2 b", "ok 2 a", "ok 1 a # SKIP", "ok 2 b # todo", "# run s.a",
        "# run s.b", "ok 1 s.a", "ok 2 s.b", "ok 1 s.a # SKIP", "not ok 2 s.b", "# run a", "# run s.a 5", "1..1",
        "KTAP version 1", "TAP version 14", "  KTAP version 1", "  1..1", "  1..2", "  ok 1 x", "  ok 2 y", "  not ok 1 x",
        "    KTAP version 1",
        "    1..1", "    ok 1 z", "    not ok 1 z", " ok 1 a", "\tok 1 a", "   not ok 1 x", "ok -1 a",
        "ok 99999999999999999999 a",
        "not ok 99999999999999999999 a", "ok 01 a", "not ok", "not okay", "ok", "Bail out!", "bail out",
        "1..99999999999999999999", "1..-1",
        "# auton nonce 5eed", "# auton nonce", "# auton end 5eed pass 1 fail 0 skip 0", "# auton end 5eed", "# harness: no",
        "ok 1 a\\# SKIP",
        "ok 1 - a\\\\# SKIP", "ok 1 a#skip", "ok 1", "ok 1 é", "ok 1 \u{85}", "ok 1 a\r", "ok 1 a\rb", "", "#", "# x",
        String(repeating: "  ", count: 17) + "ok 1 a", "ok 1 " + String(repeating: "a", count: 5_000),
        String(repeating: "n", count: 5_000),
    ]

    private static func damage(_ bytes: inout [UInt8], _ random: inout Random) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: bytes.indices, using: &random)
        let line = place..<(bytes[place...].firstIndex(of: 10).map { $0 + 1 } ?? bytes.endIndex)
        let start = (bytes[..<place].lastIndex(of: 10) ?? -1) + 1
        switch Int.random(in: 0..<9, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[place] = Self.bytes.randomElement(using: &random)!
        case 2: bytes.insert(Self.bytes.randomElement(using: &random)!, at: place)
        case 3: bytes.remove(at: place)
        case 4: bytes.removeSubrange(line)
        case 5: bytes.removeSubrange(start..<line.upperBound)
        case 6: bytes.insert(contentsOf: bytes[start..<line.upperBound], at: start)
        case 7: bytes.insert(contentsOf: Array((lines.randomElement(using: &random)! + "\n").utf8), at: start)
        default:
            let moved = Array(bytes[start..<line.upperBound])
            bytes.removeSubrange(start..<line.upperBound)
            let to = Int.random(in: 0...bytes.count, using: &random)
            bytes.insert(contentsOf: moved, at: (bytes[..<to].lastIndex(of: 10) ?? -1) + 1)
        }
    }
}

/// A whole report as the harness makes them, and what it says.
private struct Sample {
    static let noise = [
        "", "noise", "ok", "ok then", "not okay", "1..", "#", "KTAP", "[ 0.1] ok 1 x", "\u{0}\u{1b}[31m", "  ok x",
        "# bench mm.x 12",
    ]

    var lines: [String]
    var results: [TestResult] = []

    init(_ random: inout Random, nonce: String) {
        let count = Int.random(in: 1...6, using: &random)
        lines = ["KTAP version 1", "1..\(count)", "# auton nonce \(nonce)"]
        var counts: [TestResult.Outcome: Int] = [:]
        for number in 1...count {
            let name = ["mm", "lib", "boot"].randomElement(using: &random)! + ".test_\(number)"
            lines.append("# run \(name)")
            if Bool.random(using: &random) { lines.append(Self.noise.randomElement(using: &random)!) }
            var outcome: TestResult.Outcome = [.ok, .ok, .notOk, .skip].randomElement(using: &random)!
            if Int.random(in: 0..<3, using: &random) == 0 {
                let block = Self.subtests(1, &random)
                lines += block.lines
                if !block.passes { outcome = .notOk }
            }
            if outcome == .notOk { lines.append("# tests/x.c:\(number): KASSERT(x): false") }
            lines.append((outcome == .notOk ? "not ok " : "ok ") + "\(number) \(name)" + (outcome == .skip ? " # SKIP why" : ""))
            results.append(TestResult(name: name, outcome: outcome))
            counts[outcome, default: 0] += 1
        }
        lines.append("# auton end \(nonce) pass \(counts[.ok] ?? 0) fail \(counts[.notOk] ?? 0) skip \(counts[.skip] ?? 0)")
    }

    var bytes: [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }

    private static func subtests(_ level: Int, _ random: inout Random) -> (lines: [String], passes: Bool) {
        let indentation = String(repeating: "  ", count: level), count = Int.random(in: 1...3, using: &random)
        var lines = [indentation + "KTAP version 1", indentation + "1..\(count)"], passes = true
        for number in 1...count {
            var isOK = Int.random(in: 0..<6, using: &random) > 0
            if level < 3 && Int.random(in: 0..<4, using: &random) == 0 {
                let block = subtests(level + 1, &random)
                lines += block.lines
                isOK = isOK && block.passes
            }
            lines.append(indentation + (isOK ? "ok " : "not ok ") + "\(number) sub_\(number)")
            passes = passes && isOK
        }
        return (lines, passes)
    }
}

/// The same numbers for the same seed, on every machine (SplitMix64).
private struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
