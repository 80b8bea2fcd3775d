/// Tokens as the Messages API counts them; `input` is the part that no cache held.
package struct TokenUsage: Codable, Sendable, Equatable {
    package var input: Int
    package var cacheCreation: Int
    package var cacheRead: Int
    package var output: Int

    package init(input: Int = 0, cacheCreation: Int = 0, cacheRead: Int = 0, output: Int = 0) {
        self.input = input
        self.cacheCreation = cacheCreation
        self.cacheRead = cacheRead
        self.output = output
    }

    package static func + (a: TokenUsage, b: TokenUsage) -> TokenUsage {
        TokenUsage(
            input: a.input.addingUpToLimit(b.input), cacheCreation: a.cacheCreation.addingUpToLimit(b.cacheCreation),
            cacheRead: a.cacheRead.addingUpToLimit(b.cacheRead), output: a.output.addingUpToLimit(b.output))
    }

    /// All input tokens, cached or not.
    package var allInput: Int { input.addingUpToLimit(cacheCreation).addingUpToLimit(cacheRead) }
}

extension Int {
    /// The sum, or the largest number if it does not fit: servers may say what they like. For counts, which are not negative.
    package func addingUpToLimit(_ other: Int) -> Int {
        let (sum, tooLarge) = addingReportingOverflow(other)
        return tooLarge ? .max : sum
    }
}

/// The conversation that a message came out of.
package struct Provenance: Codable, Sendable, Equatable {
    package var model: String
    /// `sha256:` and the digest of the transcript file.
    package var transcript: String
    package var turns: Int
    package var usage: TokenUsage

    package init(model: String, transcript: String, turns: Int, usage: TokenUsage) {
        self.model = model
        self.transcript = transcript
        self.turns = turns
        self.usage = usage
    }
}

/// Why a benchmark that takes longer than on the base should be taken all the same.
package struct Justification: Codable, Sendable, Equatable {
    /// The benchmark: `mm.frame_alloc_free`.
    package var bench: String
    package var why: String

    package init(bench: String, why: String) {
        self.bench = bench
        self.why = why
    }
}

/// What an attempt produced: a commit on a branch of its own.
package struct Candidate: AttemptMessage {
    package static let kind = Kind.candidate

    package enum Outcome: String, Choice {
        /// The agent says that it is done.
        case finished
        /// It used up its turns, went round in circles, or the model refused; the commit holds what there was.
        case gaveUp = "gave-up"
    }

    package var task: String
    package var attempt: Int
    package var branch: String
    package var commit: String
    package var tree: String
    /// The tree without the user's side; nil in messages older than the field.
    package var agentTree: String?
    /// Main's commit and tree when the attempt started.
    package var base: String
    package var baseTree: String
    package var outcome: Outcome
    /// The agent's own words; of one that gave up first why, in a line.
    package var summary: String
    /// The benchmarks that it knows to be slower now; nil if it names none, and in messages older than the field.
    package var slower: [Justification]?
    package var provenance: Provenance

    package init(
        task: String, attempt: Int, branch: String, commit: String, tree: String, agentTree: String? = nil, base: String,
        baseTree: String, outcome: Outcome, summary: String, slower: [Justification]? = nil, provenance: Provenance
    ) {
        self.task = task
        self.attempt = attempt
        self.branch = branch
        self.commit = commit
        self.tree = tree
        self.agentTree = agentTree
        self.base = base
        self.baseTree = baseTree
        self.outcome = outcome
        self.summary = summary
        self.slower = slower
        self.provenance = provenance
    }
}
