/// Isolated against combined, for one commit of main. Named by that commit's tree.
package struct Composition: Message {
    package static let kind = Kind.composition

    /// One boot.
    package struct Configuration: Codable, Sendable, Equatable {
        /// `combined`, or the subsystem that was booted alone, or the task (or branch) whose change was; `a + b` for two of
        /// them, `order reverse` or `order SEED` for the whole in another order, `clock 1` for it by the clock, `base` for what they are put on.
        package var name: String
        package var tests: [TestResult]
        /// Empty if the boot ended as it should; else how it did end, or at first did, where it was taken for the machine's fault.
        package var failure: String
        /// Nil in what was filed before instructions were counted.
        package var counts: InstructionCounts?

        package init(name: String, tests: [TestResult], failure: String, counts: InstructionCounts? = nil) {
            self.name = name
            self.tests = tests
            self.failure = failure
            self.counts = counts
        }
    }

    /// A figure of the whole, and what the changes add up to.
    package struct Sum: Codable, Sendable, Equatable {
        package var name: String
        package var base: Int
        /// The base's, and what each change adds to it when it is there alone.
        package var expected: Int
        package var combined: Int

        package init(name: String, base: Int, expected: Int, combined: Int) {
            self.name = name
            self.base = base
            self.expected = expected
            self.combined = combined
        }
    }

    /// What one of those to blame did.
    package struct Change: Codable, Sendable, Equatable {
        /// The task, or the branch as it was given.
        package var part: String
        /// The branch of the task's attempt; nil of a branch that was given.
        package var branch: String?
        package var commit: String
        package var change: ChangeSummary

        package init(part: String, branch: String? = nil, commit: String, change: ChangeSummary) {
            self.part = part
            self.branch = branch
            self.commit = commit
            self.change = change
        }
    }

    /// What was asked for.
    package struct Demand: Codable, Sendable, Equatable {
        /// Per cent that something may take more in company.
        package var slower: Double
        /// How many other orders the tests were run in.
        package var orders: Int
        /// Whether every two changes were put together.
        package var allPairs: Bool

        package init(slower: Double, orders: Int, allPairs: Bool) {
            self.slower = slower
            self.orders = orders
            self.allPairs = allPairs
        }
    }

    package var commit: String
    package var tree: String
    package var configurations: [Configuration]
    package var interactions: [Interaction]
    /// What the kernel prints when it boots without tests.
    package var console: [String]
    /// Nil in what was filed before there were any; so are those below.
    package var figures: [Sum]?
    /// Of all that are to blame for anything.
    package var changes: [Change]?
    /// How many trees were built and how many boots there were for it.
    package var builds: Int?
    package var boots: Int?
    package var demand: Demand?
    package var name: String { tree }

    package init(
        commit: String, tree: String, configurations: [Configuration], interactions: [Interaction], console: [String],
        figures: [Sum]? = nil, changes: [Change]? = nil, builds: Int? = nil, boots: Int? = nil, demand: Demand? = nil
    ) {
        self.commit = commit
        self.tree = tree
        self.configurations = configurations
        self.interactions = interactions
        self.console = console
        self.figures = figures
        self.changes = changes
        self.builds = builds
        self.boots = boots
        self.demand = demand
    }
}
