import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The gate's self-check by its program, as the loop asks for it: once for all tests, whose loops then begin at once.
enum GateProof {
    private static let first = Task { try await run("--cached") }

    /// What the program printed, of the first time in this process; nothing but that it was done before, if it was.
    static var outcome: Outcome { get async throws { try await first.value } }

    static func run(_ more: String...) async throws -> Outcome {
        try await Program.run("auton-validate", ["--self-check"] + more, in: Program.package, timeLimit: 300)
    }
}

@Suite struct GateProofTests {
    /// A known-good kernel is accepted, with a good change and a good test, and of the corpus every mutant refused, for its reason.
    @Test func everyMutantIsRefusedForItsReason() async throws {
        var outcome = try await GateProof.outcome
        if outcome.output.contains("proved itself before") { outcome = try await GateProof.run() }
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        var lines = outcome.output.split(separator: "\n").map(String.init)
        let last = lines.removeLast()
        #expect(lines.filter { !$0.hasPrefix("PASS ") } == [])
        let judged = lines.compactMap { line in line.dropFirst(5).split(separator: ":").first.map(String.init) }
        let patches = try Files.list(Program.package.appending("data/self-check")).filter { $0.hasSuffix(".patch") }
        #expect(Set(judged) == Set(patches.map { String($0.dropLast(6)) }))
        #expect(lines.filter { !$0.hasSuffix(": accepted") }.count >= 20)
        #expect(last == "the gate judged \(judged.count) kernels as it should")
    }
}
