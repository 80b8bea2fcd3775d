import AutonKit

/// The output of `git diff-tree --patch --unified=0`, matched to the files by order alone: names in it are quoted, and
/// an agent chooses them. Within a hunk the header's counts say how many lines belong to it, so that no line of a file
/// can pass for one of the patch.
enum Patch {
    static func read(_ bytes: [UInt8], into files: inout [ChangedFile]) throws {
        // One section a file; two where a file became a link or the other way.
        let owners = files.indices.filter { files[$0].isReadable }.flatMap { files[$0].status == .typeChanged ? [$0, $0] : [$0] }
        var section = -1
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...]
        while let line = lines.popFirst() {
            if line.starts(with: "diff --git ".utf8) {
                section += 1
            } else if let (old, new) = ranges(line) {
                guard owners.indices.contains(section), lines.count >= old.count + new.count else {
                    throw AutonError(.bug, "git diff-tree: a hunk outside of a file")
                }
                files[owners[section]].hunks.append(hunk(old, new, from: &lines))
            }
        }
        guard section + 1 == owners.count else {
            throw AutonError(.bug, "git diff-tree: \(owners.count) changes, but \(section + 1) patches")
        }
    }

    private static func hunk(_ old: Lines, _ new: Lines, from lines: inout ArraySlice<ArraySlice<UInt8>>) -> ChangedFile.Hunk {
        var hunk = ChangedFile.Hunk(oldStart: old.start, newStart: new.start)
        while hunk.removed.count < old.count || hunk.added.count < new.count, let line = lines.popFirst() {
            let text = line.dropFirst()
            // Between the two there may be `\ No newline at end of file`.
            switch line.first {
            case UInt8(ascii: "-"): hunk.removed.append(String(decoding: text, as: UTF8.self))
            case UInt8(ascii: "+"): hunk.added.append(String(decoding: text, as: UTF8.self))
            default: continue
            }
        }
        return hunk
    }

    private typealias Lines = (start: Int, count: Int)

    /// The lines of `@@ -12,3 +12 @@ …`: removed and added; nil if it is no such line.
    private static func ranges(_ line: ArraySlice<UInt8>) -> (Lines, Lines)? {
        guard line.starts(with: "@@ -".utf8) else { return nil }
        let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 4)
        guard words.count >= 4, words[3] == "@@", let removed = range(words[1]), let added = range(words[2]) else { return nil }
        return (removed, added)
    }

    /// `-12,3` is 3 lines from 12 on, `-12` one.
    private static func range(_ text: Substring) -> Lines? {
        let parts = text.dropFirst().split(separator: ",").compactMap { Int($0) }
        return parts.count == 2 ? (parts[0], parts[1]) : parts.count == 1 ? (parts[0], 1) : nil
    }
}
