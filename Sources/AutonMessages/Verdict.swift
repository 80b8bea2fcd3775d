/// One thing the gate looked at.
package struct Check: Codable, Sendable, Equatable {
    package enum Status: String, Choice {
        case passed, failed
        /// Not reached, because an earlier check failed, or not asked of this task.
        case skipped
    }

    package var name: String
    package var status: Status
    /// Wall time in seconds.
    package var seconds: Double
    /// One line: what was found.
    package var detail: String
    /// The lines that show it.
    package var evidence: [String]

    package init(name: String, status: Status, seconds: Double = 0, detail: String = "", evidence: [String] = []) {
        self.name = name
        self.status = status
        self.seconds = seconds
        self.detail = detail
        self.evidence = evidence
    }
}

/// What one booted test said.
package struct TestResult: Codable, Sendable, Equatable {
    package enum Outcome: String, Choice {
        case ok
        case notOk = "not-ok"
        case skip
        /// It was planned, and the boot ended before its result line.
        case missing
    }

    /// suite.test
    package var name: String
    package var outcome: Outcome
    /// The diagnostics printed with it.
    package var diagnostics: [String]

    package init(name: String, outcome: Outcome, diagnostics: [String] = []) {
        self.name = name
        self.outcome = outcome
        self.diagnostics = diagnostics
    }

    /// What is before the first dot of its name.
    package var suite: String { String(name.prefix { $0 != "." }) }
}

/// The gate's judgement of one candidate.
package struct Verdict: AttemptMessage {
    package static let kind = Kind.verdict
    package var task: String
    package var attempt: Int
    package var commit: String
    package var tree: String
    package var accepted: Bool
    package var checks: [Check]
    package var tests: [TestResult]
    /// The kernel's own serial output, its last lines.
    package var console: [String]
    /// What tests and benchmarks take; nil if it did not come to that, and in messages older than the field.
    package var counters: InstructionCounts?
    /// The machines that the kernel was booted on, or could not be; likewise.
    package var boots: [BootResult]?
    /// The image; likewise.
    package var sections: [SectionSize]?
    /// What was judged; nil of what was compared with nothing, and likewise.
    package var change: ChangeSummary?
    /// True if it was built and booted without a sandbox, by `--unsafe-no-sandbox`; else left out.
    package var unsandboxed: Bool?

    package init(
        task: String, attempt: Int, commit: String, tree: String, accepted: Bool, checks: [Check],
        tests: [TestResult], console: [String], counters: InstructionCounts? = nil, boots: [BootResult]? = nil,
        sections: [SectionSize]? = nil, change: ChangeSummary? = nil, unsandboxed: Bool? = nil
    ) {
        self.task = task
        self.attempt = attempt
        self.commit = commit
        self.tree = tree
        self.accepted = accepted
        self.checks = checks
        self.tests = tests
        self.console = console
        self.counters = counters
        self.boots = boots
        self.sections = sections
        self.unsandboxed = unsandboxed
        self.change = change
    }
}

/// A reviewer's remark on one place.
package struct ReviewComment: Codable, Sendable, Equatable {
    package var file: String
    /// Counted from 1 in the candidate's version; 0 speaks of the whole file.
    package var line: Int
    package var text: String

    package init(file: String, line: Int, text: String) {
        self.file = file
        self.line = line
        self.text = text
    }
}

/// The reviewer's decision on an accepted candidate.
package struct Review: AttemptMessage {
    package static let kind = Kind.review

    package enum Decision: String, Choice {
        case approve
        case changesRequested = "changes-requested"
    }

    package var task: String
    package var attempt: Int
    package var commit: String
    package var decision: Decision
    package var summary: String
    package var comments: [ReviewComment]
    /// How many reviewers were asked and came to no decision; absent if one did. The task is blocked then, and its author not asked again.
    package var undecided: Int?
    package var provenance: Provenance

    package init(
        task: String, attempt: Int, commit: String, decision: Decision, summary: String, comments: [ReviewComment],
        provenance: Provenance
    ) {
        self.task = task
        self.attempt = attempt
        self.commit = commit
        self.decision = decision
        self.summary = summary
        self.comments = comments
        self.provenance = provenance
    }
}
