import AutonKit
import SystemPackage

/// What a commit changes against another: the material of the diff rules.
package struct Change: Sendable {
    package struct File: Sendable {
        package enum Status: Character, Sendable {
            case added = "A", modified = "M", deleted = "D"
            /// From a file to a link or the other way.
            case typeChanged = "T"
        }

        /// Lines that stand together: what was there, and what took its place.
        package struct Hunk: Sendable, Equatable {
            package var removed: [String] = []
            package var added: [String] = []

            package init(removed: [String] = [], added: [String] = []) {
                self.removed = removed
                self.added = added
            }
        }

        package var path: String
        package var status: Status
        /// As in a tree: 0o100644, 0o120000 for a link; 0 where there is no file.
        package var oldMode: Int
        package var newMode: Int
        /// Bytes; nil where there is no file.
        package var oldSize: Int?
        package var newSize: Int?
        /// A changed line holds a NUL.
        package var isBinary = false
        /// The changed lines are UTF-8.
        package var isUTF8 = true
        package var hunks: [Hunk] = []

        package var removed: [String] { hunks.flatMap(\.removed) }
        package var added: [String] { hunks.flatMap(\.added) }
        package var isOnBase: Bool { oldMode != 0 }

        package init(path: String, status: Status, oldMode: Int, newMode: Int) {
            self.path = path
            self.status = status
            self.oldMode = oldMode
            self.newMode = newMode
        }
    }

    /// In git's order of paths.
    package var files: [File]

    package init(files: [File]) { self.files = files }

    /// Reads the change from `base` to `commit`.
    ///
    /// - Throws: `AutonError` with `.bug` if git says what it never should.
    package init(from base: String, to commit: String, in git: Git) async throws {
        let tree = ["diff-tree", "-r", "--no-renames", "--no-abbrev"]
        async let list = Self.output(git, tree + ["-z", "--raw", base, commit])
        // As text whatever it is, so that no attribute can hide a line; without context, so that the hunk's lines are
        // the change.
        async let patch = Self.output(
            git, tree + ["--patch", "--unified=0", "--text", "--no-ext-diff", "--no-textconv", "--no-color", base, commit])
        var entries = try RawDiff.parse(try await list)
        let sizes = try await Self.sizes(of: entries.flatMap { [$0.oldBlob, $0.newBlob] }, git)
        for index in entries.indices {
            entries[index].file.oldSize = sizes[entries[index].oldBlob]
            entries[index].file.newSize = sizes[entries[index].newBlob]
        }
        files = entries.map(\.file)
        try Patch.read(try await patch, into: &files)
    }

    private static func output(_ git: Git, _ arguments: [String]) async throws -> [UInt8] {
        let result = try await git.result(arguments)
        guard result.succeeded, result.output.total == result.output.bytes.count else {
            throw AutonError(
                .bug, "cannot read the change: \(Text.lines(result.errors.text).first ?? "too large")", at: git.directory.string)
        }
        return result.output.bytes
    }

    /// Bytes by blob. What is no blob here (a submodule's commit, no file) has none.
    private static func sizes(of blobs: [String], _ git: Git) async throws -> [String: Int] {
        let wanted = Set(blobs).filter { $0.contains { $0 != "0" } }.sorted()
        if wanted.isEmpty { return [:] }
        let answer = try await git.run(
            "cat-file", "--batch-check=%(objectname) %(objectsize)", input: wanted.map { $0 + "\n" }.joined())
        return Dictionary(
            answer.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                return words.count == 2 ? Int(words[1]).map { (String(words[0]), $0) } : nil
            }, uniquingKeysWith: { first, _ in first })
    }
}
