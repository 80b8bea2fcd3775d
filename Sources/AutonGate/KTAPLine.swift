/// One line of a KTAP stream, after its indentation.
enum KTAPLine: Equatable {
    case version(String)
    /// `1..N`
    case plan(Int)
    case result(Result)
    /// `# run NAME`, ours: the test begins.
    case run(String)
    /// `# auton nonce HEX`, ours: the report begins.
    case nonce(String)
    /// `# auton end HEX pass P fail F skip S`, ours: the report is whole.
    case end(nonce: String, passed: Int, failed: Int, skipped: Int)
    /// `# panic: WHY`, ours.
    case panic(String)
    /// `# harness: WHY`, ours: it was asked for what it cannot do.
    case refusal(String)
    /// `# count …` and `# bench …`, ours: `CounterReport` reads them.
    case measurement
    case diagnostic(String)
    case noise

    struct Result: Equatable {
        var isOK: Bool
        var number: Int
        var name: String
        /// What stands after `#`: SKIP, XFAIL, TIMEOUT, ERROR or TODO.
        var directive: String?
    }

    init(_ line: String) {
        if let text = line.dropping("# ") {
            self = Self.comment(text)
        } else if let version = line.dropping("KTAP version ") {
            self = .version(version)
        } else if let count = line.dropping("1..") {
            // A plan may carry a comment: `1..0 # SKIP no tests`.
            self = Int(count.prefix { $0 != " " }).map { $0 >= 0 ? .plan($0) : .noise } ?? .noise
        } else if let rest = line.dropping("ok ") {
            self = Self.result(rest, isOK: true)
        } else if let rest = line.dropping("not ok ") {
            self = Self.result(rest, isOK: false)
        } else {
            self = .noise
        }
    }

    private static func comment(_ text: String) -> KTAPLine {
        if let name = text.dropping("run ") { return .run(name) }
        if let why = text.dropping("panic: ") { return .panic(why) }
        if let why = text.dropping("harness: ") { return .refusal(why) }
        if text.hasPrefix("bench ") || CounterReport.isCount(text) { return .measurement }
        if let nonce = text.dropping("auton nonce ") { return .nonce(nonce) }
        if let end = text.dropping("auton end ") {
            let words = end.split(separator: " ", omittingEmptySubsequences: false)
            guard words.count == 7, words[1] == "pass", words[3] == "fail", words[5] == "skip",
                let passed = Int(words[2]), let failed = Int(words[4]), let skipped = Int(words[6])
            else { return .end(nonce: "", passed: -1, failed: -1, skipped: -1) }
            return .end(nonce: String(words[0]), passed: passed, failed: failed, skipped: skipped)
        }
        return .diagnostic(text)
    }

    /// A result line without a number counts for nothing, and so is missed by the plan.
    private static func result(_ text: String, isOK: Bool) -> KTAPLine {
        let words = text.split(separator: " ", maxSplits: 1)
        guard let number = words.first.flatMap({ Int($0) }) else { return .noise }
        var name = words.count > 1 ? String(words[1]) : ""
        var directive: String?
        if let hash = name.firstRange(of: "# "), hash.lowerBound == name.startIndex || name[..<hash.lowerBound].hasSuffix(" ") {
            directive = name[hash.upperBound...].split(separator: " ").first.map { $0.uppercased() }
            name = String(name[..<hash.lowerBound])
        }
        if let bare = name.dropping("- ") { name = bare }
        name = String(name.reversed().drop { $0 == " " }.reversed())
        return .result(Result(isOK: isOK, number: number, name: name.isEmpty ? "test \(number)" : name, directive: directive))
    }
}
