import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// A verdict on standard output, for people or for programs.
struct Report {
    /// Lines of a failure's evidence that are shown; the verdict has them all.
    private static let shown = 12

    let json: Bool
    /// On a terminal of people who can read them. What scripts read has words, whatever the locale.
    private static let hasTicks: Bool = {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment($0) }.first ?? ""
        return isatty(STDOUT_FILENO) == 1 && ["utf-8", "utf8"].contains(where: locale.lowercased().contains)
    }()

    func print(_ verdict: Verdict, of name: String, consequence: String?) throws {
        if json {
            try write(String(decoding: try Mailbox.encode(verdict), as: UTF8.self))
        } else {
            let width = verdict.checks.map(\.name.count).max() ?? 0
            let lines =
                verdict.checks.flatMap { Self.lines(of: $0, width) + ($0.name == "build" ? Self.sizes(verdict) : []) } + [
                    Self.conclusion(verdict, name, consequence)
                ]
            try write(lines.map { $0 + "\n" }.joined())
        }
    }

    private static func lines(of check: Check, _ width: Int) -> [String] {
        let time = check.status == .skipped ? "" : Self.time(check.seconds)
        let line = "\(mark(check.status)) \(pad(check.name, width)) \(pad(time, -6))  \(check.detail)"
        guard check.status == .failed else { return [trimmed(line)] }
        // The first line of evidence that only repeats the detail is not worth its place.
        let evidence = check.evidence.first == check.detail ? Array(check.evidence.dropFirst()) : check.evidence
        let more = evidence.count - shown
        return [trimmed(line)]
            + (evidence.prefix(shown) + (more > 0 ? ["[… \(more) more lines in the verdict]"] : [])).map { "     " + $0 }
    }

    private static func mark(_ status: Check.Status) -> String {
        switch status {
        case .passed: hasTicks ? "✓" : "PASS"
        case .failed: hasTicks ? "✗" : "FAIL"
        case .skipped: hasTicks ? "–" : "SKIP"
        }
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
        "\(name) \(verdict.accepted ? "accepted" : "rejected")\(verdict.unsandboxed == true ? ", without a sandbox" : "")"
            + (consequence.map { ": \($0)" } ?? "")
    }

    /// 12ms, or 0.8s
    private static func time(_ seconds: Double) -> String {
        if seconds < 0.1 { return "\(Int((seconds * 1000).rounded()))ms" }
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
