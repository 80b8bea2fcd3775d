import AutonCommand
import AutonGate
import AutonKit
import AutonSettings
@preconcurrency import Glibc
import SystemPackage

/// The gate's self-check as a stage.
struct SelfChecking {
    let settings: Settings
    /// Whether to be content with having passed it before, with the same programs, tools, corpus and harness.
    let cached: Bool

    func run() async throws -> ExitStatus {
        let corpus = Share.data("self-check"), kernel = FilePath(settings.paths.kernel)
        let stamp = try await SelfCheckStamp(corpus: corpus, kernel: kernel)
        if cached && stamp.isThere {
            print("the gate has proved itself before, with the same programs, tools and harness")
            return .done
        }
        let check = try SelfCheck(corpus: corpus, kernel: kernel, limits: settings.sandbox.limits)
        let findings = try await check.run { finding in
            // Each at once, also into a pipe: it takes a while.
            defer { fflush(stdout) }
            print(finding.complaint == nil ? "PASS" : "FAIL", finding.mutant + ":", finding.complaint ?? finding.said)
        }
        let bad = findings.filter { $0.complaint != nil }
        guard bad.isEmpty else {
            let names = bad.map(\.mutant).sorted().joined(separator: ", ")
            throw AutonError(
                .bug, "the gate is not to be trusted: \(bad.count) of \(findings.count) kernels misjudged", at: names)
        }
        stamp.leave()
        print("the gate judged \(findings.count) kernels as it should")
        return .done
    }
}
