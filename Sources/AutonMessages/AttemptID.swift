/// Names one attempt at one task: `boot-002.1` is the first attempt at `boot-002`.
package struct AttemptID: Hashable, Sendable, CustomStringConvertible, Comparable {
    package var task: String
    /// Counted from 1.
    package var attempt: Int

    package init(task: String, attempt: Int) {
        self.task = task
        self.attempt = attempt
    }

    /// Parses `task.attempt`; nil if either part is missing or malformed.
    package init?(_ text: String) {
        guard let dot = text.lastIndex(of: "."), let attempt = Int(text[text.index(after: dot)...]), attempt > 0,
            TaskID.isValid(String(text[..<dot]))
        else { return nil }
        self.init(task: String(text[..<dot]), attempt: attempt)
        // One attempt has one name: no 01, no +1.
        if description != text { return nil }
    }

    package var description: String { "\(task).\(attempt)" }

    package static func < (a: AttemptID, b: AttemptID) -> Bool {
        (a.task, a.attempt) < (b.task, b.attempt)
    }
}

package enum TaskID {
    /// A task's id is a file name, a branch name and a make target, so it is kept to what is plain in all three:
    /// lower-case letters, digits and inner hyphens, starting with a letter, at most 64 characters.
    package static func isValid(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last, bytes.count <= 64 else { return false }
        let lower = UInt8(ascii: "a")...UInt8(ascii: "z")
        let digit = UInt8(ascii: "0")...UInt8(ascii: "9")
        return lower.contains(first) && last != UInt8(ascii: "-")
            && bytes.allSatisfy { lower.contains($0) || digit.contains($0) || $0 == UInt8(ascii: "-") }
    }
}
