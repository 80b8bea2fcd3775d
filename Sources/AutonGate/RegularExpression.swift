import Glibc

/// A POSIX extended regular expression, as grep -E takes it.
final class RegularExpression {
    private var compiled = regex_t()

    /// Nil if it is none.
    init?(_ pattern: String) {
        guard regcomp(&compiled, pattern, REG_EXTENDED | REG_NEWLINE | REG_NOSUB) == 0 else { return nil }
    }

    deinit { regfree(&compiled) }

    func matches(_ line: String) -> Bool { regexec(&compiled, line, 0, nil, 0) == 0 }
}
