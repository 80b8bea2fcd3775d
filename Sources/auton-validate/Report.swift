import AutonKit
import AutonMessages
import SystemPackage

/// A verdict on standard output, for people or for programs.
struct Report {
    /// Lines of a failure's evidence that are shown; the verdict has them all.
    private static let shown = 12

    let json: Bool

    func print(_ verdict: Verdict, of name: String, consequence: String?) throws {
        if json {
            try write(String(decoding: try Mailbox.encode(verdict), as: UTF8.self))
        } else {
            let lines =
                verdict.checks.flatMap { Self.lines(of: $0) + ($0.name == "build" ? Self.sizes(verdict) : []) } + [
                    Self.conclusion(verdict, name, consequence)
                ]
            try write(lines.map { $0 + "\n" }.joined())
        }
    }

    private static func lines(of check: Check) -> [String] {
        let word =
            switch check.status {
            case .passed: "PASS"
            case .failed: "FAIL"
            case .skipped: "SKIP"
            }
        let time = check.status == .skipped ? "" : seconds(check.seconds)
        let line = "\(word) \(pad(check.name, 14)) \(pad(time, -6))  \(check.detail)"
        guard check.status == .failed else { return [trimmed(line)] }
        let more = check.evidence.count - shown
        let evidence = check.evidence.prefix(shown) + (more > 0 ? ["[… \(more) more lines in the verdict]"] : [])
        return [trimmed(line)] + evidence.map { "     " + $0 }
    }

    /// The image's sections in bytes, and how many more or less than the base's they are.
    private static func sizes(_ verdict: Verdict) -> [String] {
        guard let sections = verdict.sections, !sections.isEmpty else { return [] }
        return [
            "     "
                + sections.map { section in
                    let change = section.bytes - (section.base ?? section.bytes)
                    return "\(section.name) \(section.bytes)" + (change == 0 ? "" : " (\(change > 0 ? "+" : "")\(change))")
                }.joined(separator: ", ")
        ]
    }

    private static func conclusion(_ verdict: Verdict, _ name: String, _ consequence: String?) -> String {
        "\(name) \(verdict.accepted ? "accepted" : "rejected")" + (consequence.map { ": \($0)" } ?? "")
    }

    /// 0.8s
    private static func seconds(_ seconds: Double) -> String {
        let tenths = Int((seconds * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)s"
    }

    /// Left-aligned to `width`, right-aligned to a negative one.
    private static func pad(_ text: String, _ width: Int) -> String {
        let space = String(repeating: " ", count: max(0, abs(width) - text.count))
        return width < 0 ? space + text : text + space
    }

    private static func trimmed(_ line: String) -> String {
        String(line.reversed().drop { $0 == " " }.reversed())
    }

    /// Whoever closed the pipe has read enough.
    private func write(_ text: String) throws {
        do {
            try FileDescriptor.standardOutput.writeAll(text.utf8)
        } catch Errno.brokenPipe {}
    }
}
