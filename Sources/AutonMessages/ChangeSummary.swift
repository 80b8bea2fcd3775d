/// What a candidate changes against its base, for people, reviewers and reports.
package struct ChangeSummary: Codable, Sendable, Equatable {
    /// The commit that it is compared with.
    package var base: String
    /// In git's order of paths.
    package var files: [FileChange]
    /// How many files more there are.
    package var filesLeftOut: Int

    package init(base: String, files: [FileChange], filesLeftOut: Int) {
        self.base = base
        self.files = files
        self.filesLeftOut = filesLeftOut
    }
}

/// One file of a change.
package struct FileChange: Codable, Sendable, Equatable {
    package enum Status: String, Codable, Sendable {
        case added, modified, deleted
        /// From a file to a link or the other way.
        case typeChanged = "type-changed"
    }

    package var path: String
    package var status: Status
    /// As git has it: 100644, 100755 executable, 120000 a link, 160000 a submodule; nil where there is no file.
    package var oldMode: String?
    package var newMode: String?
    /// Lines.
    package var added: Int
    package var removed: Int
    /// Functions of C by name, tests as `mm.frames`, labels of nasm; those that are gone too.
    package var functions: [String]
    package var hunks: [Hunk]
    /// How many hunks more there are.
    package var hunksLeftOut: Int

    package init(
        path: String, status: Status, oldMode: String?, newMode: String?, added: Int, removed: Int, functions: [String],
        hunks: [Hunk], hunksLeftOut: Int
    ) {
        self.path = path
        self.status = status
        self.oldMode = oldMode
        self.newMode = newMode
        self.added = added
        self.removed = removed
        self.functions = functions
        self.hunks = hunks
        self.hunksLeftOut = hunksLeftOut
    }

    /// Lines that stand together, without context, as `git diff --unified=0` has them.
    package struct Hunk: Codable, Sendable, Equatable {
        /// Counted from 1; of no lines, the line before their place.
        package var oldStart: Int
        package var oldLines: Int
        package var newStart: Int
        package var newLines: Int
        package var removed: [String]
        package var added: [String]
        /// How many lines of the two are not told: there were too many, or a secret is among them.
        package var linesLeftOut: Int

        package init(
            oldStart: Int, oldLines: Int, newStart: Int, newLines: Int, removed: [String], added: [String], linesLeftOut: Int
        ) {
            self.oldStart = oldStart
            self.oldLines = oldLines
            self.newStart = newStart
            self.newLines = newLines
            self.removed = removed
            self.added = added
            self.linesLeftOut = linesLeftOut
        }
    }
}
