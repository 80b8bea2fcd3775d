import AutonKit
import Glibc
import SystemPackage

/// A POSIX extended regular expression, as grep -E takes it.
final class RegularExpression {
    let pattern: String
    private var compiled = regex_t()

    /// Nil if it is none.
    init?(_ pattern: String) {
        self.pattern = pattern
        guard regcomp(&compiled, pattern, REG_EXTENDED | REG_NEWLINE | REG_NOSUB) == 0 else { return nil }
    }

    deinit { regfree(&compiled) }

    func matches(_ line: String) -> Bool { regexec(&compiled, line, 0, nil, 0) == 0 }

    /// Those of a file that has one a line, between empty lines and comments.
    static func list(in file: FilePath) throws -> [RegularExpression] {
        try Files.readText(file).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }.map { pattern in
            guard let expression = RegularExpression(pattern) else {
                throw AutonError(.badConfiguration, "not a regular expression: \(pattern)", at: file.string)
            }
            return expression
        }
    }
}
