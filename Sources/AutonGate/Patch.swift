import AutonKit

/// The output of `git diff-tree --patch --unified=0`, matched to the files by order alone: names in it are quoted, and
/// an agent chooses them. Within a hunk the header's counts say how many lines belong to it, so that no line of a file
/// can pass for one of the patch.
enum Patch {
    static func read(_ bytes: [UInt8], into files: inout [Change.File]) throws {
        // One section a file; two where a file became a link or the other way.
        let owners = files.indices.flatMap { files[$0].status == .typeChanged ? [$0, $0] : [$0] }
        var section = -1
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...]
        while let line = lines.popFirst() {
            if line.starts(with: "diff --git ".utf8) {
                section += 1
            } else if let (removed, added) = counts(line) {
                guard owners.indices.contains(section), lines.count >= removed + added else {
                    throw AutonError(.bug, "git diff-tree: a hunk outside of a file")
                }
                take(removed, added, from: &lines, into: &files[owners[section]])
            }
        }
        guard section + 1 == owners.count else {
            throw AutonError(.bug, "git diff-tree: \(owners.count) changes, but \(section + 1) patches")
        }
    }

    private static func take(
        _ removed: Int, _ added: Int, from lines: inout ArraySlice<ArraySlice<UInt8>>, into file: inout Change.File
    ) {
        var hunk = Change.File.Hunk()
        while hunk.removed.count < removed || hunk.added.count < added, let line = lines.popFirst() {
            let text = line.dropFirst()
            // Between the two there may be `\ No newline at end of file`.
            switch line.first {
            case UInt8(ascii: "-"): hunk.removed.append(String(decoding: text, as: UTF8.self))
            case UInt8(ascii: "+"): hunk.added.append(String(decoding: text, as: UTF8.self))
            default: continue
            }
            if text.contains(0) { file.isBinary = true }
            if String(validating: text, as: UTF8.self) == nil { file.isUTF8 = false }
        }
        file.hunks.append(hunk)
    }

    /// The counts of `@@ -12,3 +12 @@ …`: lines removed and added; nil if it is no such line.
    private static func counts(_ line: ArraySlice<UInt8>) -> (removed: Int, added: Int)? {
        guard line.starts(with: "@@ -".utf8) else { return nil }
        let words = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard words.count >= 4, words[3] == "@@", let removed = count(words[1]), let added = count(words[2]) else { return nil }
        return (removed, added)
    }

    /// `-12,3` is 3 lines, `-12` one.
    private static func count(_ range: Substring) -> Int? {
        let parts = range.dropFirst().split(separator: ",")
        return parts.count == 2 ? Int(parts[1]) : parts.count == 1 ? 1 : nil
    }
}
