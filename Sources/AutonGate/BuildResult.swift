import AutonKit
import SystemPackage

/// What building a kernel tree came to.
package struct BuildResult: Sendable {
    /// Where the image is if the build succeeded, as seen from outside the sandbox.
    package var image: FilePath
    package var succeeded: Bool
    /// The run that failed, or the one that succeeded.
    package var result: CommandResult
    package var seconds: Double
    /// The seconds that it might have taken.
    package var limit: Double

    /// One line; empty if the build succeeded.
    package var failure: String {
        if succeeded { return "" }
        switch result.ending {
        case .timedOut: return "took more than \(Text.seconds(limit))"
        case .signalled, .exceeded: return "\(result.ending)"
        case .exited(0): return "make succeeded, but made no build/\(image.lastComponent?.string ?? "")"
        case .exited(let status):
            let errors = lines.filter { $0.contains("error: ") || $0.contains("undefined reference") }.count
            return errors > 0 ? Text.count(errors, "error") : "make ended with status \(status)"
        }
    }

    /// The compiler's own words, without make's: the first errors with all that belongs to them.
    package var diagnostics: [String] {
        // What goes before an error is told by the lines of its source and by notes, none of which begins an error.
        let starts = lines.indices.filter { lines[$0].contains(" error: ") || lines[$0].contains("undefined reference") }
        let ends = starts.dropFirst() + [lines.count]
        return Text.head(lines, max(ends.last { $0 <= Self.longest } ?? 0, min(Self.longest, ends.first ?? 0)))
    }

    private static let longest = 20

    private var lines: [String] {
        let said = Text.lines(result.errors.text)
        let useful = said.filter { !$0.hasPrefix("make: ") && !$0.hasPrefix("make[") }
        return useful.isEmpty ? said : useful
    }
}
