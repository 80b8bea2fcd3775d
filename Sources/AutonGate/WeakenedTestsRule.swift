/// Tests that are on the base may be added to, not weakened: no test goes, none is skipped, none asserts less.
///
/// It reads lines and not C, so it holds to what cannot be anything else: what a test asserts now is for reviewers to
/// read, and that it still passes is for the boot to show.
package struct WeakenedTestsRule: DiffRule {
    package static let name = "weakened-tests"
    private static let assertions = ["KASSERT(", "KASSERT_EQ(", "KASSERT_STREQ("]

    package init() {}

    package func violations(in change: Change) -> [String] {
        let tests = change.files.filter { $0.path.hasPrefix("tests/") }
        // A test may move from one file to another.
        let added = Set(tests.flatMap { $0.hunks.flatMap { self.tests(in: CCode.strip($0.added).lines) } })
        return tests.filter(\.isOnBase).flatMap { file in
            violations(in: file, added: added).map { "\(file.path): \($0)" }
        }
    }

    private func violations(in file: Change.File, added: Set<String>) -> [String] {
        switch file.status {
        case .deleted: return ["a file of tests is deleted"]
        case .typeChanged: return ["a file of tests is replaced by something else"]
        default: break
        }
        var violations: [String] = []
        var removedAssertions = 0, addedAssertions = 0
        for hunk in file.hunks {
            let old = CCode.strip(hunk.removed).lines, new = CCode.strip(hunk.added)
            violations += tests(in: old).filter { !added.contains($0) }.map { "removes the test \($0)" }
            removedAssertions += count(Self.assertions, in: old)
            addedAssertions += count(Self.assertions, in: new.lines)
            if count(["KSKIP("], in: new.lines) > count(["KSKIP("], in: old) { violations.append("skips a test") }
            if new.endsInComment { violations.append("opens a comment over what was there") }
            violations += new.lines.compactMap(switchingOff)
            if returnsEarly(new.lines) && !returnsEarly(old) { violations.append("returns early from what was there") }
        }
        if removedAssertions > addedAssertions {
            violations.append("removes \(Text.count(removedAssertions - addedAssertions, "assertion")) without replacement")
        }
        return violations
    }

    /// `KTEST(mm, name)` as `mm.name`.
    private func tests(in lines: [String]) -> [String] {
        lines.flatMap { line in
            line.split(separator: "KTEST(", omittingEmptySubsequences: false).dropFirst().compactMap { text in
                let arguments = text.prefix { $0 != ")" }.split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" } }
                return arguments.count == 2 ? arguments.joined(separator: ".") : nil
            }
        }
    }

    private func count(_ calls: [String], in lines: [String]) -> Int {
        lines.reduce(0) { sum, line in
            sum + calls.reduce(0) { $0 + line.split(separator: $1, omittingEmptySubsequences: false).count - 1 }
        }
    }

    /// What lets the preprocessor leave tests out or mean something else by them.
    private func switchingOff(_ line: String) -> String? {
        let text = line.filter { $0 != " " && $0 != "\t" }
        if text.hasPrefix("#if") || text.hasPrefix("#el") { return "puts tests under a condition: \(line)" }
        for macro in ["KASSERT", "KTEST", "KSKIP"] where text.hasPrefix("#define" + macro) || text.hasPrefix("#undef" + macro) {
            return "redefines the harness: \(line)"
        }
        return nil
    }

    /// A bare `return` before any function of the hunk's own begins, at the left margin, belongs to a test that was there.
    private func returnsEarly(_ lines: [String]) -> Bool {
        lines.prefix { $0.first.map { !$0.isLetter } ?? true }.contains {
            $0.filter { $0 != " " && $0 != "\t" }.contains("return;")
        }
    }
}
