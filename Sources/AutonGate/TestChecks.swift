import AutonKit
import AutonMessages
import Glibc
import SystemPackage

extension Checklist {
    /// What passed on the base still passes.
    mutating func checkRegression(_ tests: [TestResult], base: BaseResult) {
        guard let record = base.record else {
            return skip(CheckName.regression, because: "the base is no measure: \(base.failure ?? "")")
        }
        let now = Dictionary(tests.map { ($0.name, $0.outcome) }, uniquingKeysWith: { first, _ in first })
        let lost = record.passed.filter { now[$0] != .ok }
        add(
            CheckName.regression,
            failure: lost.isEmpty ? nil : "\(Text.count(lost.count, "test")) passed on the base: \(Text.list(lost))",
            passed: "\(record.passed.count) of \(record.passed.count) still pass",
            evidence: lost.map { "\($0): \(now[$0].map { $0.rawValue } ?? "not there")" })
    }

    /// Every test that the task was to make pass is there and passes; where the user has such tests, some of them.
    ///
    /// - Parameter users: the functions of the user's tests, which a developer's task is asked for.
    mutating func checkAcceptance(_ tests: [TestResult], of task: TaskMessage?, users: Set<String>) {
        guard let task else { return skip(CheckName.acceptance, because: "no task") }
        if task.accept.isEmpty && task.role != .developer {
            return skip(CheckName.acceptance, because: "the task names no tests")
        }
        let faults = task.accept.flatMap { pattern in
            let wildcard = Wildcard(pattern), matches = tests.filter { wildcard.matches($0.name) }
            // What a developer calls so shows nothing where the user has said what does.
            let asked = Set(users.compactMap(AcceptanceTests.test).filter(wildcard.matches))
            if !matches.isEmpty && !asked.isEmpty
                && !matches.contains(where: { asked.contains($0.name) })
            {
                return ["\(pattern): the user's tests of that name were not built"]
            }
            return matches.isEmpty
                ? ["\(pattern): no such test"]
                : matches.filter { $0.outcome != .ok }.map { "\($0.name): \($0.outcome.rawValue)" }
        }
        // A developer's work that nothing has to show for would be accepted on its word.
        let failure = task.accept.isEmpty ? "the task names no test that shows it done" : faults.first
        add(CheckName.acceptance, failure: failure, passed: task.accept.joined(separator: ", "), evidence: faults)
    }

    /// A tester adds a test that passes, and each that it adds asserts something.
    mutating func checkNewTests(_ tests: [TestResult], of task: TaskMessage?, base: BaseResult) {
        guard let task, task.role == .tester else { return skip(CheckName.newTests, because: "not asked of this task") }
        guard let record = base.record else {
            return skip(CheckName.newTests, because: "the base is no measure: \(base.failure ?? "")")
        }
        let known = Set(record.tests.map(\.name))
        let names = tests.filter { $0.outcome == .ok && !known.contains($0.name) }.map(\.name)
        let empty = names.filter(added.empty.contains), new = names.filter(added.asserting.contains)
        let failure =
            empty.isEmpty
            ? (new.isEmpty ? "no test that passes is new" : nil) : "asserts nothing of the kernel: \(Text.list(empty))"
        add(CheckName.newTests, failure: failure, passed: Text.list(new))
    }

    /// The kernel prints what the user's file of regular expressions asks for, once there is a boot/ to print it.
    mutating func checkConsole(_ console: [String], tree: FilePath) throws {
        guard let expected = try ExpectedLines(in: tree) else {
            return skip(CheckName.console, because: "boot/ has no sources yet")
        }
        let absent = expected.absent(from: console)
        add(
            CheckName.console, failure: absent.first.map { "no line of the console matches \($0)" },
            passed: "\(expected.count) of \(expected.count) expected lines printed",
            evidence: absent.dropFirst().map { "nor \($0)" } + ["console:"] + Text.tail(console, 20).map { "  " + $0 })
    }
}
