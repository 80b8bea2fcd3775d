import SystemPackage

/// A file in `tests/` that is on the base: what was in it must be there as it was.
struct FrozenFile {
    private(set) var violations: [String] = []

    init(_ file: ChangedFile, in change: Change) {
        guard SourceLanguage(path: file.path) != nil else { return }
        if file.status == .typeChanged {
            violations = ["a file of tests is replaced by something else"]
        } else if file.status != .deleted {
            violations = Self.difference(file.path, file, since: file).map { [$0] } ?? []
        } else {
            let places = change.files.filter { !$0.isOnBase && Self.difference($0.path, $0, since: file) == nil }.map(\.path)
            if !places.contains(where: { Self.isSamePlace($0, file, in: change) }) {
                let place = places.first.map { "moved to \($0), where it is not built as it was" } ?? "gone"
                violations = ["\(WeakenedTestsRule.advice) (the file is \(place))"]
            }
        }
    }

    /// Why the words of `new` are not those of `old`, with more behind them; nil if they are.
    private static func difference(_ path: String, _ new: ChangedFile, since old: ChangedFile) -> String? {
        guard let oldText = old.oldText, let newText = new.text else { return "a file of tests cannot be read" }
        guard let oldC = old.oldC else {
            // Its line ends too: where there was none, the last line could go on.
            let isKept = newText == oldText || newText.starts(with: oldText + (oldText.last == 0x0a ? [] : [0x0a]))
            return isKept ? nil : WeakenedTestsRule.advice
        }
        guard let newC = new.newC else { return "a file of tests is no C any more" }
        if oldC.isTooDeep || newC.isTooDeep { return oldText == newText ? nil : "a file of tests is nested too deep to be read" }
        let before = oldC.written, after = newC.written
        if let at = before.indices.first(where: { $0 >= after.count || before[$0] != after[$0] }) {
            let line = at < after.count ? after[at].line : before[at].line
            let now = at < after.count ? "`\(shown(after[at].line, of: newText))`" : "gone"
            return "\(WeakenedTestsRule.advice) (line \(line): was `\(shown(before[at].line, of: oldText))`, is \(now))"
        }
        if after.count == before.count { return nil }
        // Whoever includes a header has its own words after it.
        if !KernelSources.areBuilt(path) {
            return "\(WeakenedTestsRule.advice) (line \(after[before.count].line) is new in what tests include)"
        }
        if let line = renames(newC, after: oldC.tokens.count) {
            return "assembly outside of a function could change what the tests before it call (line \(line))"
        }
        return redefines(newC, after: oldC.tokens.count).map {
            "\($0.name) is defined after tests that have the name (line \($0.lines.lowerBound))"
        }
    }

    private static let renaming: Set<String> = [
        "asm", "__asm", "__asm__", "alias", "__alias__", "weakref", "__weakref__", "ifunc", "__ifunc__",
    ]

    /// What has words behind the first `start`, though it may begin before: with a macro that has no semicolon.
    private static func added(_ source: CSource, after start: Int) -> [CUnit] {
        source.units.filter { $0.words.upperBound > start }
    }

    /// A function whose name what was there has: it could be called, or inlined, in place of the kernel's. Or a variable that what was
    /// there declares, and that has a value now.
    private static func redefines(_ source: CSource, after start: Int) -> CUnit? {
        let used = Set(source.tokens.prefix(start).filter { $0.kind == .identifier }.map(\.text))
        return added(source, after: start).first { unit in
            switch unit.kind {
            case .function: used.contains(unit.name)
            case .declaration: !given(unit, source).isDisjoint(with: used)
            default: false
            }
        }
    }

    /// The names that a declaration gives a value.
    private static func given(_ unit: CUnit, _ source: CSource) -> Set<String> {
        var names: Set<String> = [], depth = 0, last = ""
        for word in source.tokens[unit.words] {
            if word.isPunctuator("{") || word.isPunctuator("(") || word.isPunctuator("[") { depth += 1 }
            if word.isPunctuator("}") || word.isPunctuator(")") || word.isPunctuator("]") { depth -= 1 }
            if depth == 0, word.kind == .identifier { last = word.text }
            if depth == 0, word.isPunctuator("=") { names.insert(last) }
        }
        return names
    }

    /// Where something for the assembler stands outside of functions: `__asm__(".set memcmp, mine")`.
    private static func renames(_ source: CSource, after start: Int) -> Int? {
        for unit in added(source, after: start) {
            let head = source.tokens[unit.words.lowerBound..<(unit.body ?? unit.words.upperBound)].dropFirst(
                max(0, start - unit.words.lowerBound))
            if let word = head.first(where: { renaming.contains($0.text) }) { return word.line }
        }
        return nil
    }

    /// Whether a file that moved is built there, and includes what it included before.
    private static func isSamePlace(_ path: String, _ file: ChangedFile, in change: Change) -> Bool {
        let old = FilePath(file.path), new = FilePath(path)
        guard old.extension == new.extension, path.hasPrefix("tests/") else { return false }
        if KernelSources.areBuilt(file.path) && !KernelSources.areBuilt(path) { return false }
        if old.removingLastComponent() == new.removingLastComponent() { return true }
        let included = file.oldC?.directives.filter { $0.name == "include" }.map { $0.words.map(\.text).joined() } ?? []
        return !included.contains { name in
            [old, new].contains {
                change.headers.contains($0.removingLastComponent().appending(name).lexicallyNormalized().string)
            }
        }
    }

    private static func shown(_ line: Int, of text: [UInt8]) -> String {
        let lines = text.split(separator: 0x0a, omittingEmptySubsequences: false)
        guard lines.indices.contains(line - 1) else { return "" }
        let words = lines[line - 1].split { CLexer.isBlank($0) }.map { String(decoding: $0, as: UTF8.self) }.joined(
            separator: " ")
        return String((Text.lines(words).first ?? "").prefix(80))
    }
}
