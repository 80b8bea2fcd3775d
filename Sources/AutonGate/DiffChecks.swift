import AutonKit
import AutonMessages

extension Gate {
    /// Judges what `commit` changes against `base` by the diff rules alone: nothing is checked out, built or written.
    ///
    /// - Parameters:
    ///   - git: any repository that has both.
    ///   - paths: what the change may touch; nil for all.
    package static func judgeDiff(commit: String, base: String, paths: [String]?, in git: Git) async throws -> Judgement {
        var list = Checklist()
        async let tree = git.tree(of: commit)
        let change = try await Change(from: base, to: commit, in: git)
        list.check(change, paths: paths)
        var judgement = Judgement(commit: commit, tree: try await tree, checks: list.checks, tests: [], console: [])
        judgement.change = change.summary(base: base)
        return judgement
    }
}

extension Checklist {
    /// All diff rules, whatever the first ones say.
    mutating func check(_ change: Change, paths: [String]?) {
        let count = change.files.count
        added = AddedTests(change)
        add(
            CheckName.changes, failure: count == 0 && change.unread == nil ? "nothing is changed" : nil,
            passed: Text.count(count, "file"))
        if paths == nil { skip(ScopeRule.name, because: "no task") }
        for rule in DiffRules.all(paths: paths) {
            let violations = rule.violations(in: change)
            add(
                type(of: rule).name,
                failure: violations.first.map { violations.count > 1 ? "\($0), and \(violations.count - 1) more" : $0 },
                evidence: Text.head(violations, 20))
        }
    }
}
