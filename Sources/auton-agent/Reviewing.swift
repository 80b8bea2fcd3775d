import AutonAgents
import AutonCommand
import AutonGate
import AutonKit
import AutonMessages
import AutonModel
import AutonSettings
import FoundationEssentials

extension Agent {
    private static let maxDiffBytes = 200 << 10

    /// Reviews an accepted candidate and files the review; if it asks for changes, the next attempt too.
    ///
    /// A reviewer that comes to no decision is followed by another, up to the number of attempts; after that the task is blocked.
    func review(_ task: TaskMessage) async throws -> Review {
        let name = task.name
        try mailbox.setAsideStaleJudgements(of: name)
        if let done = try mailbox.find(Review.self, name) { return try settle(done, task) }
        guard let verdict = try mailbox.find(Verdict.self, name), let candidate = try mailbox.find(Candidate.self, name) else {
            throw AutonError(.tryAgain, "no verdict on it yet", at: name)
        }
        guard verdict.accepted else { throw AutonError(.badInput, "the gate rejected it, there is nothing to review", at: name) }
        let text = try await reviewText(task, candidate, verdict)
        var number = 0
        while true {
            number += 1
            let reviewer = number == 1 ? "\(name).review" : "\(name).review-\(number)"
            let review = try await locked(reviewer) { [number] () -> Review? in
                if let done = try mailbox.find(Review.self, name) { return done }
                let transport = try options.openTransport(.reviewer, mailbox)
                try await stopIfUnfinished(reviewer, before: Review.self, of: name, transport)
                let tree = try await workspace.worktree(reviewer, commit: candidate.commit)
                defer { try? tree.remove() }
                let (ending, provenance) = try await converse(
                    reviewer, role: .reviewer, task: text, tools: readingTools(ConfinedDirectory(tree.root)),
                    closing: SubmitReview(), baseTree: candidate.baseTree, transport: transport)
                var review = try self.review(candidate, ending, provenance)
                if case .gaveUp(let surrender) = ending {
                    complain("\(reviewer) came to no decision: \(surrender)")
                    if let replay = transport as? ReplayTransport {
                        // It goes on as it went, also where it was recorded with one reviewer only.
                        if replay.has("\(name).review-\(number + 1)") { return nil }
                        review.undecided = try Mailbox(replay.run).find(Review.self, name)?.undecided
                    } else {
                        if number < maxAttempts { return nil }
                        review.undecided = number
                        review.summary = "none of \(number) reviewers came to a decision, the last one: \(surrender)"
                    }
                }
                try mailbox.file(review)
                return review
            }
            if let review { return try settle(review, task) }
        }
    }

    private func review(_ candidate: Candidate, _ ending: AgentEnding, _ provenance: Provenance) throws -> Review {
        var review = Review(
            task: candidate.task, attempt: candidate.attempt, commit: candidate.commit, decision: .changesRequested, summary: "",
            comments: [], provenance: provenance)
        switch ending {
        case .gaveUp(let surrender):
            // No decision is no approval.
            review.summary = "the reviewer came to no decision: \(surrender)"
        case .finished(let input):
            review.decision = Review.Decision(rawValue: input["decision"]?.string ?? "") ?? .changesRequested
            review.summary = input["summary"]?.string ?? ""
            review.comments = try CompactJSON.decode(
                [ReviewComment].self, from: CompactJSON.encode(input["comments"] ?? []), at: "submit_review")
        }
        return review
    }

    private func settle(_ review: Review, _ task: TaskMessage) throws -> Review {
        if review.decision == .changesRequested {
            let comments = review.comments.map { "\($0.file):\($0.line): \($0.text)" }
            let reason = Reason(attempt: task.attempt, stage: .review, summary: review.summary, details: comments)
            // An author can do nothing about reviewers that do not decide: that is for the Manager.
            try mailbox.refuse(task, because: reason, maxAttempts: review.undecided == nil ? maxAttempts : task.attempt)
        }
        return review
    }

    /// What the author says of benchmarks that are slower; the gate took their word for it.
    private static func slower(_ candidate: Candidate, _ verdict: Verdict) -> String {
        let counts = Dictionary((verdict.counters?.benches ?? []).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let lines = (candidate.slower ?? []).map { slower in
            let count = counts[slower.bench], before = count?.base
            let numbers = count.map {
                "\($0.instructions) instructions for 1000 iterations, \(before.map(String.init) ?? "none") on main"
            }
            return "- \(slower.bench) (\(numbers ?? "not measured")): \(slower.why)"
        }
        if lines.isEmpty { return "" }
        return
            "\nThe author says that these benchmarks are slower than on main, and why. The gate leaves it to you whether that is right:\n"
            + lines.joined(separator: "\n") + "\n"
    }

    /// The functions that the change touches, by file; empty if the verdict does not tell.
    private func touched(by verdict: Verdict) -> String {
        let files = (verdict.change?.files ?? []).filter { !$0.functions.isEmpty }
        guard !files.isEmpty else { return "" }
        return "\nThese functions are touched:\n"
            + files.map { "\($0.path): \($0.functions.joined(separator: ", "))\n" }.joined()
    }

    /// Tests that the task names and those that did not pass by their names, of all others how many there are in each suite: of a kernel with
    /// many they would be most of what a reviewer reads.
    private static func ran(_ tests: [TestResult], of task: TaskMessage) -> String {
        let patterns = task.accept.map { Wildcard($0) }
        let isNamed = { (test: TestResult) in test.outcome != .ok || patterns.contains { $0.matches(test.name) } }
        let others = Dictionary(grouping: tests.filter { !isNamed($0) }) { String($0.name.prefix { $0 != "." }) }
        return
            (tests.filter(isNamed).map { "\($0.outcome.rawValue) \($0.name)" }
            + others.sorted { $0.key < $1.key }.map { "ok \($0.key).*: \($0.value.count) more" })
            .joined(separator: "\n")
    }

    private func reviewText(_ task: TaskMessage, _ candidate: Candidate, _ verdict: Verdict) async throws -> String {
        let diff = try await workspace.git.run(
            "diff", "--no-ext-diff", "--no-textconv", "--no-color", candidate.base, candidate.commit)
        var shown = CapturedOutput(limit: Self.maxDiffBytes)
        shown.append(diff.utf8)
        return """
            # Review: \(task.title)

            \(task.description)

            Task: \(task.task), attempt \(task.attempt); subsystem \(task.subsystem), whose spec is spec/\(task.subsystem).md
            The author may write: \(task.paths.joined(separator: ", "))
            The author says: \(candidate.summary)

            The gate accepted it: it builds without warnings, boots, and these tests ran:
            \(Self.ran(verdict.tests, of: task))
            \(touched(by: verdict))\(Self.slower(candidate, verdict))
            The work tree is the candidate's. The change:

            \(shown.text)
            """
                + (task.reasons.isEmpty ? "" : "\n\n## Earlier attempts did not land\n\n" + describe(task.reasons))
    }
}
