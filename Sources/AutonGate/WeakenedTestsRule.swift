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
        // A test may move from one file to another.
        let after = Dictionary(
            grouping: files.flatMap { file in
                file.newC.map { source in source.units.map { TestUnit(unit: $0, source: source, path: file.path) } } ?? []
            }, by: \.key)
        return files.filter(\.isOnBase).flatMap { file in
            Self.violations(in: file, after: after).map { "\(file.path): \($0)" }
        }
    }

    private static func violations(in file: ChangedFile, after: [String: [TestUnit]]) -> [String] {
        let isTests = file.path.hasPrefix("tests/")
        if isTests && file.status == .typeChanged { return ["a file of tests is replaced by something else"] }
        let units = file.oldC.map { source in source.units.map { TestUnit(unit: $0, source: source, path: file.path) } } ?? []
        let tests = units.filter { $0.unit.kind == .test }
        if isTests && file.status == .deleted && (tests.isEmpty || !tests.allSatisfy { after[$0.key] != nil }) {
            return ["a file of tests is deleted"]
        }
        // What the tests stand on is as good as a part of them; in the kernel's own files it is the kernel.
        var violations = (isTests ? units : tests).flatMap { $0.losses(among: after[$0.key] ?? [], of: units) }
        if isTests, let old = file.oldC, let new = file.newC { violations += MacrosOfTests(old: old, new: new).violations }
        return violations
    }
}

/// A unit with the file that it is in.
struct TestUnit {
    var unit: CUnit
    var source: CSource
    var path: String

    /// What finds it again after the change.
    var key: String { "\(unit.kind) \(unit.body == nil) \(unit.name)" }

    /// - Parameters:
    ///   - after: what has its name after the change.
    ///   - units: those of its file before it.
    func losses(among after: [TestUnit], of units: [TestUnit]) -> [String] {
        let here = after.filter { $0.path == path }
        // Names that are static in their files are others elsewhere.
        let candidates = here.isEmpty ? after : here
        guard !candidates.isEmpty else {
            if unit.kind == .test { return ["removes the test \(unit.name)"] }
            return isCalled(by: units) ? ["removes \(unit.name), on which tests stand"] : []
        }
        // Declarations without a name of their own share one.
        let losses = candidates.map { Weakening(of: self, to: $0).found }
        return losses.contains([]) ? [] : losses[0]
    }

    private func isCalled(by units: [TestUnit]) -> Bool {
        unit.kind == .function
            && units.contains { other in
                other.unit.name != unit.name && other.unit.isCode
                    && source.tokens[other.unit.words].contains { $0.isIdentifier(unit.name) }
            }
    }
}
