import AutonKit

/// What is tested on the base stays tested as it was: its tests are frozen.
///
/// A source file in `tests/` may grow at its end, a header there not at all: what tests stand on is as good as a part of
/// them. It may move as a whole to where make builds it. In the kernel's own files every test, benchmark and figure, and
/// what only those use, stays word for word, there or in another file of the change.
///
/// Files are read as C without macros expanded. What a test calls of the kernel is the kernel's, and may change.
package struct WeakenedTestsRule: DiffRule {
    package static let name = "weakened-tests"

    static let advice = "tests on main are frozen: add new ones at the end of the file, or in a new file"

    package init() {}

    package func violations(in change: Change) -> [String] {
        let files = change.files.filter { !Workspace.isProtected($0.path) }
        return files.filter(\.isOnBase).flatMap { file in
            let violations =
                file.path.hasPrefix("tests/")
                ? FrozenFile(file, in: change).violations : Self.violations(in: file, of: files)
            return violations.map { "\(file.path): \($0)" }
        }
    }

    /// In one of the kernel's own files.
    private static func violations(in file: ChangedFile, of files: [ChangedFile]) -> [String] {
        guard let old = file.oldC else { return [] }
        if old.isTooDeep { return ["it is nested too deep for its tests to be found"] }
        let places = files.filter { $0.path == file.path || KernelSources.areBuilt($0.path) }
        let units = TestUnit.all(in: old, isHeader: Change.isHeader(file.path))
        if units.isEmpty { return [] }
        let kept = places.compactMap(\.newC).reduce(into: Set()) { $0.formUnion(TestUnit.contents(in: $1)) }
        let lost = units.filter { !kept.contains($0.content) }.map { test in
            "\(advice) (\(test.description) is changed, or gone, line \(test.line))"
        }
        return lost + newMeanings(of: units, old, file.newC)
    }

    /// A test's words stay, but are made macros, or other macros than they were.
    private static func newMeanings(of units: [TestUnit], _ old: CSource, _ new: CSource?) -> [String] {
        let names = units.reduce(into: Set()) { $0.formUnion($1.names) }
        let defined = { (source: CSource) in
            source.directives.filter { ["define", "undef"].contains($0.name) }.filter {
                names.contains($0.words.first?.text ?? "")
            }
        }
        let before = Dictionary(grouping: defined(old)) { $0.words[0].text }
        let after = Dictionary(grouping: new.map(defined) ?? []) { $0.words[0].text }
        // One that the kernel uses too may change, but be the same wherever it is used.
        return after.filter { $1.count > before[$0]?.count ?? 0 }.sorted { $0.key < $1.key }.map { name, directives in
            "gives another meaning to \(name), which tests use (line \(directives[directives.count - 1].line))"
        }
    }
}
