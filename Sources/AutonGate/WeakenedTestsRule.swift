import AutonKit

/// Tests that are on the base may be added to, not weakened: no test goes, and every statement of one stays as it is, in
/// its order and under the conditions that it had. So does what tests stand on in `tests/`: functions, tables, macros.
///
/// Both versions of a file are read whole, as C without its macros expanded. What a test's functions do that lie in the
/// kernel's own files is not seen: that they still behave is for the tests to show, and for reviewers to read.
package struct WeakenedTestsRule: DiffRule {
    package static let name = "weakened-tests"

    package init() {}

    package func violations(in change: Change) -> [String] {
        let files = change.files.filter { !Workspace.isProtected($0.path) }
        let after = TestUnit.Index(files.flatMap { TestUnit.all(of: $0.newC, in: $0.path) })
        return files.filter(\.isOnBase).flatMap { file in
            Self.violations(in: file, after: after).map { "\(file.path): \($0)" }
        }
    }

    private static func violations(in file: ChangedFile, after: TestUnit.Index) -> [String] {
        let isTests = TestUnit.isPathOfTests(file.path)
        if isTests && file.status == .typeChanged { return ["a file of tests is replaced by something else"] }
        let units = TestUnit.all(of: file.oldC, in: file.path), tests = units.filter { $0.unit.kind == .test }
        // A test may move from one file to another.
        if isTests && file.status == .deleted && (tests.isEmpty || tests.contains { after.candidates(for: $0).isEmpty }) {
            return ["a file of tests is deleted"]
        }
        let uses = isTests ? file.oldC.map(TestUnit.uses) ?? [:] : [:]
        var violations = units.flatMap { $0.losses(among: after, uses: uses) }
        if isTests, let old = file.oldC, let new = file.newC { violations += MacrosOfTests(old: old, new: new).violations }
        return violations
    }
}
