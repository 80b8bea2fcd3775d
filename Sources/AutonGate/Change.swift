import AutonKit
import SystemPackage

/// What a commit changes against another: the material of the diff rules.
package struct Change: Sendable {
    /// In git's order of paths.
    package var files: [ChangedFile]
    /// Paths of the headers in `include/`, `harness/` and `tests/`, before or after the change.
    package var headers: Set<String>
    /// Those in `tests/` that are there after the change as they were before, which its new tests may stand on.
    var headersOfTests: [[UInt8]] = []
    /// Words of the tests that are there before the change which its headers define as macros, and none did before: with a file that has each.
    var wordsOfTests: [String: String] = [:]
    /// Those of them that tests call, or have as another macro.
    var callsOfTests: Set<String> = []
    /// Why its files were not read, though they should be; nil if they were.
    package var unread: String?

    /// Bytes of a file that are read; a larger one is no kernel source.
    package static let largestFile = 256 << 10
    /// Bytes of all files together that are read.
    package static let largest = 32 << 20
    /// Larger files than these many are not left out of git's patch one by one, nor is one with a longer path.
    private static let mostExclusions = 100, longestPath = 4096
    /// Macros that headers may define anew, of which each is looked for in the tests, and bytes of a word.
    static let mostMacros = 2000, longestWord = 255

    /// A change of a tree that has nothing else.
    package init(files: [ChangedFile]) { self.init(files: files, headers: Set(files.map(\.path).filter(Self.isIncluded))) }

    private init(files: [ChangedFile], headers: Set<String>) { (self.files, self.headers) = (files, headers) }

    private static let included = ["include", "harness", "tests"]

    private static func isIncluded(_ path: String) -> Bool {
        isHeader(path) && included.contains { path.utf8.starts(with: "\($0)/".utf8) }
    }

    static func isHeader(_ path: String) -> Bool { [".h", ".def", ".inc"].contains(where: path.hasSuffix) }

    /// Reads the change from `base` to `commit`. A change that cannot be read as it is is told, not thrown: who made it is to be
    /// refused for it.
    ///
    /// - Throws: `AutonError` with `.bug` if git says what it never should.
    package init(from base: String, to commit: String, in git: Git) async throws {
        // No configuration of the repository has a say in what is listed.
        let tree = ["diff-tree", "-r", "--no-renames", "--no-abbrev", "--ignore-submodules=none"]
        async let headers = Self.headers(of: [base, commit], in: git)
        let list = try await Self.result(git, tree + ["-z", "--raw", base, commit])
        guard list.isWhole else {
            self.init(files: [], headers: [])
            unread = "more files than are listed"
            return
        }
        let entries = try RawDiff.parse(list.bytes)
        let sizes = try await Blobs.sizes(of: entries.flatMap { [$0.oldBlob, $0.newBlob] }, in: git)
        var files = entries.map { entry in
            var file = entry.file
            (file.oldSize, file.newSize) = (sizes[entry.oldBlob], sizes[entry.newBlob])
            return file
        }
        let read = files.indices.filter { files[$0].isReadable }
        let size = read.reduce(0) { $0 + (files[$1].oldSize ?? 0) + (files[$1].newSize ?? 0) }
        let large = files.filter { !$0.isReadable }.map(\.path), excluded = large.map { ":(exclude,top,literal)\($0)" }
        var unread = read.isEmpty ? nil : Self.obstacle(size: size, large: large)
        if unread == nil && !read.isEmpty {
            // As text whatever it is, so that no attribute can hide a line; without context, so that the hunk's lines are
            // the change.
            async let patch = Self.result(
                git,
                tree + [
                    "--patch", "--unified=0", "--text", "--no-ext-diff", "--no-textconv", "--no-color", "--diff-algorithm=myers",
                ]
                    + [base, commit, "--"] + excluded)
            let blobs = try await Blobs.contents(
                of: read.flatMap { [entries[$0].oldBlob, entries[$0].newBlob] }.filter { sizes[$0] != nil }, in: git)
            for index in read {
                files[index].read(old: blobs[entries[index].oldBlob], new: blobs[entries[index].newBlob])
            }
            let found = try await patch
            guard found.isWhole else { throw AutonError(.bug, "git diff-tree: more lines than the files have") }
            try Patch.read(found.bytes, into: &files)
        }
        let found = try await headers
        self.init(files: files, headers: Set(found.keys))
        if files.contains(where: { $0.path.utf8.starts(with: "tests/".utf8) }) {
            let changed = Set(files.map(\.path))
            let left = found.filter { $0.key.utf8.starts(with: "tests/".utf8) && !changed.contains($0.key) }.values
            let sizes = try await Blobs.sizes(of: Array(left), in: git).filter { $0.value <= Self.largestFile }
            // As many as tell anything about the tests; more are no kernel's.
            let some = sizes.keys.sorted().prefix(Self.largest / Self.largestFile)
            headersOfTests = try await Blobs.contents(of: Array(some), in: git).sorted { $0.key < $1.key }.map(\.value)
        }
        if let words = try await Self.wordsOfTests(takenBy: files, base, in: git) {
            (wordsOfTests, callsOfTests) = words
        } else {
            unread = "its headers define more than \(Self.mostMacros) macros anew"
        }
        self.unread = unread
    }

    /// Why git cannot be asked for the lines of the change.
    ///
    /// - Parameters:
    ///   - size: bytes of all versions of the files that are to be read.
    ///   - large: paths of those that are not, since they are too large.
    private static func obstacle(size: Int, large: [String]) -> String? {
        if size > largest { return "\(size) bytes, the limit is \(largest)" }
        if large.count > mostExclusions { return "\(large.count) files of it are larger than \(largestFile) bytes" }
        // It cannot be named to git.
        let unnamed = large.first { $0.utf8.count > longestPath || $0.unicodeScalars.contains("\u{fffd}") }
        return unnamed.map { "a file of it is larger than \(largestFile) bytes, and has no plain name: \(Text.path($0))" }
    }

    /// Nil for more than there is time for.
    private static func wordsOfTests(takenBy files: [ChangedFile], _ base: String, in git: Git) async throws -> (
        all: [String: String], calls: Set<String>
    )? {
        let macros = { (source: CSource?) in
            Set((source?.macros ?? []).compactMap(\.words.first?.text))
        }
        let headers = files.filter { isHeader($0.path) && $0.status != .deleted && !Workspace.isProtected($0.path) }
        var new = Set(headers.flatMap { macros($0.newC).subtracting(macros($0.oldC)) })
        if new.isEmpty { return ([:], []) }
        // Those that were in another header.
        let define = "^[[:space:]]*#[[:space:]]*define[[:space:]]+[A-Za-z0-9_]+"
        let known = try await result(
            git, ["grep", "--no-color", "-h", "-o", "-I", "-E", "-e", define, base, "--", "*.h", "*.def", "*.inc"], orStatus: 1)
        for line in String(decoding: known.bytes, as: UTF8.self).split(separator: "\n") {
            if let name = line.split(whereSeparator: \.isWhitespace).last { new.remove(String(name)) }
        }
        // A longer word is refused, wherever it is.
        new = new.filter { $0.utf8.count <= longestWord }
        if new.count > mostMacros { return nil }
        if new.isEmpty { return ([:], []) }
        let definitions = Set(headers.flatMap { $0.newC?.macros ?? [] }.map(\.written))
        let grep =
            ["grep", "--no-color", "--null", "-I", "-l", "-w", "-F"] + new.sorted().flatMap { ["-e", $0] } + [
                base, "--", "tests",
            ]
        var found: [String: String] = [:], calls: Set<String> = []
        for name in try await result(git, grep, orStatus: 1).bytes.split(separator: 0) {
            let file = String(decoding: name, as: UTF8.self)
            let text = try await result(git, ["cat-file", "blob", file])
            guard text.isWhole, text.bytes.count <= largestFile else { continue }
            let source = CSource(text.bytes)
            // A macro that the test has already may come from a header as it is.
            let own = Set(source.macros.filter { definitions.contains($0.written) }.compactMap(\.words.first?.text))
            calls.formUnion(source.macros.compactMap(\.words.first?.text).filter { new.contains($0) && !own.contains($0) })
            // Not in comments.
            for words in source.pieces {
                for (index, word) in words.enumerated() where word.kind == .identifier && new.contains(word.text) {
                    found[word.text] = String(file.dropFirst(base.count + 1))
                    let isCall = words.dropFirst(index + 1).first?.isPunctuator("(") == true
                    if isCall && !own.contains(word.text) { calls.insert(word.text) }
                }
            }
        }
        return (found, calls)
    }

    /// Blobs by path, of the last commit that has the path.
    private static func headers(of commits: [String], in git: Git) async throws -> [String: String] {
        var found: [String: String] = [:]
        for commit in commits {
            let list = try await result(git, ["ls-tree", "-r", "-z", "--full-tree", commit, "--"] + included)
            guard list.isWhole else {
                throw AutonError(.badInput, "more files than are read", at: included.joined(separator: " "))
            }
            for entry in list.bytes.split(separator: 0).map({ String(decoding: $0, as: UTF8.self) }) {
                // `100644 blob ID<tab>PATH`
                let parts = entry.split(separator: "\t", maxSplits: 1), words = parts[0].split(separator: " ")
                guard parts.count == 2, words.count == 3, isIncluded(String(parts[1])) else { continue }
                found[String(parts[1])] = String(words[2])
            }
        }
        return found
    }

    private static func result(_ git: Git, _ arguments: [String], orStatus status: Int32 = 0) async throws -> (
        bytes: [UInt8], isWhole: Bool
    ) {
        let result = try await git.result(arguments)
        guard result.succeeded || result.ending == .exited(status) else {
            throw AutonError(
                .bug, "cannot read the change: \(Text.lines(result.errors.text).first ?? "no message")", at: git.directory.string)
        }
        return (result.output.bytes, result.output.total == result.output.bytes.count)
    }
}
