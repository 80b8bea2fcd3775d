import AutonKit
import AutonMessages

/// What the gate found out about one commit.
package struct Judgement: Sendable, Equatable {
    package var commit: String
    package var tree: String
    /// In the order in which they were made.
    package var checks: [Check] = []
    /// What the boot said, if it came to one.
    package var tests: [TestResult] = []
    /// The last lines of the kernel's own serial output.
    package var console: [String] = []
    /// Nil if it did not come to that.
    package var counters: InstructionCounts?
    /// Nil if it did not come to a boot.
    package var boots: [BootResult]?
    package var sections: [SectionSize]?
    /// What the commit changes, if it was compared with another.
    package var change: ChangeSummary?
    /// Whether what it built and booted was in the sandbox.
    package var unsandboxed = Sandbox.isRenounced

    /// All that was asked was come to, and nothing was found.
    package var accepted: Bool {
        checks.contains { $0.status == .passed }
            && !checks.contains { $0.status == .failed || $0.detail == Checklist.notReached }
    }

    package func verdict(on id: AttemptID) -> Verdict {
        Verdict(
            task: id.task, attempt: id.attempt, commit: commit, tree: tree, accepted: accepted, checks: checks, tests: tests,
            console: console, counters: counters, boots: boots, sections: sections, change: change,
            unsandboxed: unsandboxed ? true : nil)
    }
}

/// What the next attempt is told of a verdict that refused this one.
package func reason(for verdict: Verdict) -> Reason {
    let failed = verdict.checks.filter { $0.status == .failed }
    return Reason(
        attempt: verdict.attempt, stage: .gate, summary: failed.first.map(line) ?? "no check was made",
        details: Text.head(failed.flatMap { check in [line(check)] + check.evidence.filter { $0 != check.detail } }, 24))
}

private func line(_ check: Check) -> String {
    check.detail.isEmpty ? check.name : "\(check.name): \(check.detail)"
}
