import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// The gate's proof of itself: it judges a known-good kernel, which it must accept, and known-bad mutants of it, each of which
/// it must refuse by the check that is there for it.
package struct SelfCheck: Sendable {
    /// What came of one mutant.
    package struct Finding: Sendable {
        package var mutant: String
        /// What the mutant does.
        package var summary: String
        /// What the gate said, in one line.
        package var said: String
        /// Why the gate is not to be trusted; nil if all is as it should be.
        package var complaint: String?
        /// Wall time.
        package var seconds: Double
    }

    let mutants: [Mutant]
    private let corpus: FilePath
    private let kernel: FilePath
    private let limits: RunLimits
    /// Each mutant is judged by a gate whose check of it always passes: what a test has it do to see that it is found out.
    var isBlind = false

    /// Reads the corpus.
    ///
    /// - Parameters:
    ///   - corpus: has the specimen and the mutants.
    ///   - kernel: the kernel tree whose protected side is to be used.
    package init(corpus: FilePath, kernel: FilePath, limits: RunLimits = RunLimits()) throws {
        self.corpus = corpus
        self.kernel = kernel
        self.limits = limits
        let suffix = ".patch"
        guard Files.isDirectory(corpus) else { throw AutonError(.badConfiguration, "no corpus of mutants", at: corpus.string) }
        mutants = try Files.list(corpus).filter { $0.hasSuffix(suffix) }.sorted().map { name in
            try Mutant(name: String(name.dropLast(suffix.count)), parsing: try Files.readText(corpus.appending(name)))
        }
        let missing = CheckName.all.filter { check in
            !mutants.contains { if case .refused(check, _) = $0.expectation { true } else { false } }
        }
        guard missing.isEmpty, mutants.contains(where: { $0.expectation == .accepted }) else {
            throw AutonError(
                .badConfiguration, "the corpus has no mutant for \(missing.first ?? "what is to be accepted")", at: corpus.string)
        }
    }

    /// - Parameters:
    ///   - selection: the names of the mutants to judge; nil for all.
    ///   - report: told of each as it is done.
    package func run(_ selection: Set<String>? = nil, report: (Finding) -> Void = { _ in }) async throws -> [Finding] {
        let specimen = try await Specimen(corpus: corpus, kernel: kernel)
        defer { specimen.remove() }
        let chosen = mutants.filter { selection?.contains($0.name) ?? true }
        // Those that hang first: nobody is to wait for them alone at the end.
        var waiting = (chosen.filter { $0.seconds != nil } + chosen.filter { $0.seconds == nil })[...]
        var findings: [Finding] = []
        try await withThrowingTaskGroup { group in
            // More than there are processors, since some boots do nothing but wait for their end.
            for _ in 0...(2 * max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) {
                guard let mutant = waiting.popFirst() else { break }
                group.addTask { try await judge(mutant, specimen) }
            }
            while let finding = try await group.next() {
                findings.append(finding)
                report(finding)
                if let mutant = waiting.popFirst() { group.addTask { try await judge(mutant, specimen) } }
            }
        }
        return findings
    }

    private func judge(_ mutant: Mutant, _ specimen: Specimen) async throws -> Finding {
        let start = ContinuousClock.now
        var gate = Gate(workspace: specimen.workspace, limits: limits)
        if isBlind, case .refused(let check, _) = mutant.expectation { gate.blindTo = check }
        gate.seed = specimen.build
        if let seconds = mutant.seconds { gate.limits.bootSeconds = seconds }
        if !mutant.boots.isEmpty { gate.demands.boots = .named(mutant.boots) }
        let (base, commit) = try await specimen.commits(of: mutant)
        let judgement = try await gate.judge(commit: commit, base: base, task: mutant.task, purpose: mutant.name)
        let failed = judgement.checks.first { $0.status == .failed }
        return Finding(
            mutant: mutant.name, summary: mutant.summary, said: failed.map { "\($0.name): \($0.detail)" } ?? "accepted",
            complaint: specimen.isBreached ? "something got out of the sandbox" : mutant.complaint(about: judgement),
            seconds: start.duration(to: .now).seconds)
    }
}
