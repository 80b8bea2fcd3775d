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
