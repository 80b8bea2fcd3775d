/// One line of `log/progress`, tab-separated: what (start, end; run, when a loop begins), when (seconds since 1970),
/// attempt, stage, exit status, seconds, words.
package struct ProgressLine {
    /// Whether a stage began, or ended.
    package var isStart: Bool
    /// Seconds since 1970.
    package var time: Double
    /// An attempt, or what else a stage is about.
    package var subject: String
    package var stage: String
    /// The stage's exit status; 0 where it began.
    package var status: Int
    /// How long it took; 0 where it began.
    package var seconds: Double
    /// The last line that it printed.
    package var words: String

    /// Nil of what is no line of a stage.
    package init?(_ line: Substring) {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        guard fields.count == 7, fields[0] != "run", let time = Double(fields[1]) else { return nil }
        isStart = fields[0] == "start"
        self.time = time
        subject = fields[2]
        stage = fields[3]
        status = Int(fields[4]) ?? 0
        seconds = Double(fields[5]) ?? 0
        words = fields[6]
    }
}
