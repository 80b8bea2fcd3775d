/// Something found in a source file that a rule forbids.
struct Finding: Hashable {
    var what: String
    var line: Int

    /// - Parameter what: cut, since what it quotes may be as long as the file.
    init(what: String, line: Int) {
        (self.what, self.line) = (String(what.unicodeScalars.prefix(Text.longestLine)), line)
    }
}

enum SourceFindings {
    /// Of a file these many are told; nobody reads more.
    static let most = 100

    /// What is found in a file after the change and was not there before, as `what (line 12)`: the change is judged, not
    /// what main has already.
    static func new(
        in file: ChangedFile, c: (CSource) -> [Finding], _ assembler: (AssemblerSource) -> [Finding]
    ) -> [String] {
        let old = file.oldC.map(c) ?? file.oldAssembler.map(assembler) ?? []
        return self.new(file.newC.map(c) ?? file.newAssembler.map(assembler) ?? [], since: old)
    }

    static func new(_ new: [Finding], since old: [Finding]) -> [String] {
        var known = Dictionary(old.map { ($0.what, 1) }, uniquingKeysWith: +)
        var seen: Set<Finding> = [], found: [String] = []
        for finding in new where found.count < most && seen.insert(finding).inserted {
            if let left = known[finding.what], left > 0 {
                known[finding.what] = left - 1
            } else {
                found.append("\(finding.what) (line \(finding.line))")
            }
        }
        return found
    }
}
