import AutonKit

/// The output of `git diff-tree -z --raw`: `:oldmode newmode oldblob newblob status NUL path NUL`, again and again.
enum RawDiff {
    struct Entry {
        var file: ChangedFile
        var oldBlob: String
        var newBlob: String
    }

    static func parse(_ bytes: [UInt8]) throws -> [Entry] {
        let fields = bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast()
        guard fields.count % 2 == 0 else { throw AutonError(.bug, "git diff-tree: an entry without a path") }
        return try stride(from: fields.startIndex, to: fields.endIndex, by: 2).map { index in
            let words = String(decoding: fields[index].dropFirst(), as: UTF8.self).split(separator: " ").map(String.init)
            guard words.count == 5, let old = Int(words[0], radix: 8), let new = Int(words[1], radix: 8),
                let status = words[4].first.flatMap(ChangedFile.Status.init)
            else { throw AutonError(.bug, "git diff-tree: \(String(decoding: fields[index], as: UTF8.self))") }
            // A path that is not UTF-8 gets replacement characters, which the rules refuse.
            let path = String(decoding: fields[index + 1], as: UTF8.self)
            return Entry(
                file: ChangedFile(path: path, status: status, oldMode: old, newMode: new), oldBlob: words[2], newBlob: words[3])
        }
    }
}
