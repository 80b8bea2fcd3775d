import AutonMessages
import SystemPackage

extension Mailbox {
    /// Sets aside what was said of another commit than the candidate's: that one was lost (garbage that was set aside), and made again.
    ///
    /// Who made it may have come to another tree; then what its reviewers were shown and said is set aside too, and they are asked again.
    package func setAsideStaleJudgements(of name: String) throws {
        guard let candidate = try find(Candidate.self, name) else { return }
        let reason = "of a commit that is not the candidate's"
        let verdict = try find(Verdict.self, name), review = try find(Review.self, name)
        // The verdict comes last: killed before, this is done again.
        let commits = [("review", review?.commit), ("verdict", verdict?.commit)]
        let stale = commits.filter { $0.1 != nil && $0.1 != candidate.commit }.map { "\($0.0)/\(name).json" }
        if stale.isEmpty { return }
        if verdict?.tree != candidate.tree {
            for file in try Files.list(root.appending("transcript")) where file.hasPrefix("\(name).review") {
                setAside("transcript/\(file)", because: reason)
            }
        }
        for file in stale { setAside(file, because: reason) }
    }
}
