import AutonMessages

extension Change {
    private static let mostFiles = 500
    /// Lines of all hunks together that a verdict tells, and of one hunk.
    private static let mostLines = 2000
    private static let mostLinesOfHunk = 200

    /// The change as a verdict tells it, of a bounded size.
    ///
    /// - Parameter base: the commit that it is measured against.
    package func summary(base: String) -> ChangeSummary {
        var room = Self.mostLines
        let told = files.prefix(Self.mostFiles).map { Self.summary(of: $0, &room) }
        return ChangeSummary(base: base, files: told, filesLeftOut: files.count - told.count)
    }

    private static func summary(of file: ChangedFile, _ room: inout Int) -> FileChange {
        let status: FileChange.Status =
            switch file.status {
            case .added: .added
            case .modified: .modified
            case .deleted: .deleted
            case .typeChanged: .typeChanged
            }
        let mode = { (mode: Int) in mode == 0 ? nil : String(mode, radix: 8) }
        let hunks = file.hunks.prefix { _ in room > 0 }.map { summary(of: $0, &room) }
        return FileChange(
            path: Text.path(file.path), status: status, oldMode: mode(file.oldMode), newMode: mode(file.newMode),
            added: file.hunks.reduce(0) { $0 + $1.added.count }, removed: file.hunks.reduce(0) { $0 + $1.removed.count },
            functions: file.functions, hunks: hunks, hunksLeftOut: file.hunks.count - hunks.count)
    }

    private static func summary(of hunk: ChangedFile.Hunk, _ room: inout Int) -> FileChange.Hunk {
        let hasSecret = (hunk.removed + hunk.added).contains { Secret.in($0) != nil }
        let most = hasSecret ? 0 : min(room, mostLinesOfHunk)
        let removed = hunk.removed.prefix(most), added = hunk.added.prefix(most - removed.count)
        // A hunk without a line told takes room too.
        room -= max(1, removed.count + added.count)
        let clean = { (line: String) in Text.lines(line).first ?? "" }
        return FileChange.Hunk(
            oldStart: hunk.oldStart, oldLines: hunk.removed.count, newStart: hunk.newStart, newLines: hunk.added.count,
            removed: removed.map(clean), added: added.map(clean),
            linesLeftOut: hunk.removed.count + hunk.added.count - removed.count - added.count)
    }
}

extension ChangedFile {
    /// More functions of one file than this are not told.
    private static let mostFunctions = 200

    /// The functions, tests and labels that a hunk touches, in the order of the file; then those that are gone.
    package var functions: [String] {
        let new = newC.map(Self.places) ?? newAssembler.map(Self.places) ?? []
        let old = oldC.map(Self.places) ?? oldAssembler.map(Self.places) ?? []
        let names = Set(new.map(\.name))
        let added = hunks.map { ($0.newStart, $0.added.count) }, removed = hunks.map { ($0.oldStart, $0.removed.count) }
        let touched = new.filter { Self.touches($0.lines, added) }
        let gone = old.filter { !names.contains($0.name) && Self.touches($0.lines, removed) }
        var seen: Set<String> = []
        return Array((touched + gone).map(\.name).filter { seen.insert($0).inserted }.prefix(Self.mostFunctions))
    }

    private typealias Place = (name: String, lines: ClosedRange<Int>)

    private static func places(_ source: CSource) -> [Place] { source.units.filter(\.isCode).map { ($0.name, $0.lines) } }

    /// From each label that is not local to the next.
    private static func places(_ source: AssemblerSource) -> [Place] {
        let labels = source.lines.filter {
            $0.count > 1 && $0[0].kind == .identifier && $0[1].isPunctuator(":") && !$0[0].text.hasPrefix(".")
        }
        .map { $0[0] }
        let last = source.lines.last?.first?.line ?? 0
        return labels.indices.map { index in
            let end = index + 1 < labels.count ? labels[index + 1].line - 1 : last
            return (labels[index].text, labels[index].line...max(labels[index].line, end))
        }
    }

    /// Whether one of the ranges of lines, which are in order, is among `lines`; of no lines, whether their place is
    /// inside.
    private static func touches(_ lines: ClosedRange<Int>, _ ranges: [(start: Int, count: Int)]) -> Bool {
        var low = 0, high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            let last = ranges[middle].start + max(1, ranges[middle].count) - 1
            if last < lines.lowerBound { low = middle + 1 } else { high = middle }
        }
        guard low < ranges.count else { return false }
        return ranges[low].count == 0 ? ranges[low].start < lines.upperBound : ranges[low].start <= lines.upperBound
    }
}
