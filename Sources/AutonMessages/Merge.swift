/// A task that is on main. Named by task alone, so that it can be filed once only: nothing merges twice.
package struct Merge: Message {
    package static let kind = Kind.merge
    package var task: String
    package var attempt: Int
    /// The candidate's commit.
    package var candidate: String
    /// The merge commit and its tree.
    package var commit: String
    package var tree: String
    /// Main's tree before.
    package var baseTree: String
    /// What the merged tree's boot said.
    package var tests: [TestResult]
    /// The machines that it was booted on, or could not be; nil in messages older than the field.
    package var boots: [BootResult]?
    package var name: String { task }

    package init(
        task: String, attempt: Int, candidate: String, commit: String, tree: String, baseTree: String,
        tests: [TestResult], boots: [BootResult]? = nil
    ) {
        self.task = task
        self.attempt = attempt
        self.candidate = candidate
        self.commit = commit
        self.tree = tree
        self.baseTree = baseTree
        self.tests = tests
        self.boots = boots
    }
}

/// Isolated against combined, for one commit of main. Named by that commit's tree.
package struct Composition: Message {
    package static let kind = Kind.composition

    /// One boot.
    package struct Configuration: Codable, Sendable, Equatable {
        /// `combined`, or the subsystem that was booted alone, or the task (or branch) whose change was.
        package var name: String
        package var tests: [TestResult]
        /// Empty if the boot ended as it should; else how it did end.
        package var failure: String

        package init(name: String, tests: [TestResult], failure: String) {
            self.name = name
            self.tests = tests
            self.failure = failure
        }
    }

    /// A test that says one thing alone and another in company.
    package struct Interaction: Codable, Sendable, Equatable {
        package var test: String
        package var alone: TestResult.Outcome
        package var combined: TestResult.Outcome
        package var evidence: [String]
        /// The smallest set of tasks (or branches) that shows it; nil in what was filed before blame was looked for.
        package var blamed: [String]?

        package init(
            test: String, alone: TestResult.Outcome, combined: TestResult.Outcome, evidence: [String], blamed: [String]? = nil
        ) {
            self.test = test
            self.alone = alone
            self.combined = combined
            self.evidence = evidence
            self.blamed = blamed
        }
    }

    package var commit: String
    package var tree: String
    package var configurations: [Configuration]
    package var interactions: [Interaction]
    /// What the kernel prints when it boots without tests.
    package var console: [String]
    package var name: String { tree }

    package init(
        commit: String, tree: String, configurations: [Configuration], interactions: [Interaction], console: [String]
    ) {
        self.commit = commit
        self.tree = tree
        self.configurations = configurations
        self.interactions = interactions
        self.console = console
    }
}
