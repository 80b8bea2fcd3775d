import AutonKit

/// One line of a KTAP stream: what it says, and at which level of nesting.
///
/// KTAP lets unknown lines pass. So does this, but for lines that begin as one that counts and are none: those must
/// not be read as less than they say.
struct KTAPLine: Equatable {
    enum Content: Equatable {
        /// The whole line if it is of another protocol, such as TAP's.
        case version(String)
        /// `1..N`
        case plan(Int)
        case result(Result)
        /// `Bail out! WHY`, TAP's way to say that all is over.
        case bailOut(String)
        /// `# run SUITE.NAME`, ours: the test begins.
        case run(String)
        /// `# auton nonce HEX`, ours: the report begins.
        case nonce(String)
        /// `# auton end HEX pass P fail F skip S`, ours: the report is whole.
        case end(nonce: String, passed: Int, failed: Int, skipped: Int)
        /// `# panic: WHY`, ours.
        case panic(String)
        /// `# trace ADDRESS…`, ours: the frames under the panic, innermost first.
        case trace([UInt64])
        /// `# harness: WHY`, ours: it was asked for what it cannot do.
        case refusal(String)
        /// `# count …` and `# bench …`, ours: `CounterReport` reads them.
        case measurement
        case diagnostic(String)
        /// Begins as a line that counts, and cannot be read as one; with what is wrong.
        case malformed(String)
        case noise
    }

    struct Result: Equatable {
        var isOK: Bool
        var number: Int
        var name: String
        /// The first word after `#`, in capitals.
        var directive = ""
    }

    /// 0 outside; one more for every two spaces.
    var level: Int
    var content: Content

    init(_ line: LineReader.Line) {
        let text = line.bytes.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        let indentation = line.bytes[..<text.startIndex]
        level = indentation.count / 2
        content = Self.content(text, isNested: !indentation.isEmpty)
        guard counts else { return }
        // What it cannot be read as must not be guessed: not by us, and not by the next reader.
        if indentation.count % 2 != 0 || indentation.contains(UInt8(ascii: "\t")) {
            content = .malformed("a line that is not indented by whole levels of two spaces")
        } else if line.isCut {
            content = .malformed("a line of more than \(LineReader.longest) bytes")
        } else if !Self.isClean(text) {
            content = .malformed("a line with control characters or what is no UTF-8")
        }
    }

    /// Whether the report as such depends on it.
    var counts: Bool {
        switch content {
        case .version, .plan, .result, .bailOut, .run, .nonce, .end: true
        case .panic, .trace, .refusal, .measurement, .diagnostic, .malformed, .noise: false
        }
    }

    private static func content(_ bytes: ArraySlice<UInt8>, isNested: Bool) -> Content {
        // Noise is most of a stream of garbage; it is not worth a string.
        guard let first = bytes.first, "#KT1onBb".utf8.contains(first) else { return .noise }
        let text = String(decoding: bytes, as: UTF8.self)
        switch first {
        case UInt8(ascii: "#"):
            guard let comment = text.dropping("# ") else { return .noise }
            return isNested ? .diagnostic(shown(comment)) : ourComment(comment) ?? .diagnostic(shown(comment))
        case UInt8(ascii: "K"), UInt8(ascii: "T"):
            if let version = text.dropping("KTAP version ") { return .version(version == "1" ? "1" : text) }
            return text.dropping("TAP version ") == nil ? .noise : .version(text)
        case UInt8(ascii: "1"): return plan(text)
        case UInt8(ascii: "o"): return text.dropping("ok ").flatMap { result($0, isOK: true) } ?? .noise
        case UInt8(ascii: "n"):
            guard text == "not ok" || text.dropping("not ok ") != nil else { return .noise }
            // An `ok` that is none is missed by the plan; this one might be a failure that nobody hears of.
            return text.dropping("not ok ").flatMap { result($0, isOK: false) } ?? .malformed("a “not ok” without a number")
        default:
            return text.prefix(9).lowercased() == "bail out!"
                ? .bailOut(shown(String(text.dropFirst(9).drop { $0 == " " }))) : .noise
        }
    }

    /// What of the harness's own words is there; nil if it is anybody's comment.
    private static func ourComment(_ text: String) -> Content? {
        if let name = text.dropping("run "), isName(name) { return .run(name) }
        if let why = text.dropping("panic: ") { return .panic(shown(why)) }
        if let why = text.dropping("harness: ") { return .refusal(shown(why)) }
        if let frames = text.dropping("trace ") {
            return .trace(frames.split(separator: " ").prefix(32).compactMap { UInt64($0.dropFirst(2), radix: 16) })
        }
        if text.dropping("bench ") != nil || CounterReport.isCount(text) { return .measurement }
        if let nonce = text.dropping("auton nonce ") { return .nonce(nonce) }
        guard let end = text.dropping("auton end ") else { return nil }
        let words = end.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 7, words[1] == "pass", words[3] == "fail", words[5] == "skip",
            let passed = number(words[2]), let failed = number(words[4]), let skipped = number(words[6])
        else { return .malformed("an end line without its counts") }
        return .end(nonce: String(words[0]), passed: passed, failed: failed, skipped: skipped)
    }

    /// Whether it is the name of a test or benchmark, and not what a test says of a run: `lib.sum`, not `queue 5`.
    static func isName(_ text: String) -> Bool {
        let words = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isWord = { (byte: UInt8) in byte.isLetterOrDigit || byte == UInt8(ascii: "_") }
        return words.count == 2 && words.allSatisfy { !$0.isEmpty && $0.allSatisfy(isWord) }
    }

    /// `1..N`, and a comment if there is one: `1..0 # SKIP no tests`.
    private static func plan(_ text: String) -> Content {
        guard let rest = text.dropping("1..") else { return .noise }
        let digits = rest.prefix { $0 != " " }
        let comment = rest.dropFirst(digits.count).drop { $0 == " " }
        guard let count = number(digits), comment.isEmpty || comment.first == "#" else { return .noise }
        return .plan(count)
    }

    /// A result without a number is none.
    private static func result(_ text: String, isOK: Bool) -> Content? {
        let digits = text.prefix { $0 != " " }
        guard let number = number(digits) else { return nil }
        let (name, comment) = description(text.dropFirst(digits.count + 1))
        let word = comment.drop { $0 == " " }.prefix { $0.isASCII && $0.isLetter }.uppercased()
        return .result(Result(isOK: isOK, number: number, name: name.isEmpty ? "test \(number)" : name, directive: word))
    }

    /// A description ends where a `#` is that no backslash escapes.
    private static func description(_ text: Substring) -> (name: String, comment: Substring) {
        let text = text.dropping("- ") ?? text
        var name: [UInt8] = [], isEscaped = false
        var end = text.utf8.endIndex
        for index in text.utf8.indices {
            let byte = text.utf8[index]
            if !isEscaped && byte == UInt8(ascii: "#") {
                end = index
                break
            }
            // A backslash before anything else is a backslash.
            if isEscaped && byte != UInt8(ascii: "#") && byte != UInt8(ascii: "\\") { name.append(UInt8(ascii: "\\")) }
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            if !isEscaped { name.append(byte) }
        }
        if isEscaped { name.append(UInt8(ascii: "\\")) }
        while name.last == UInt8(ascii: " ") { name.removeLast() }
        return (String(decoding: name, as: UTF8.self), text[end...].dropFirst())
    }

    /// Decimal digits and nothing else: no sign, no leading zero, no more than there can be.
    private static func number(_ text: Substring) -> Int? {
        guard let first = text.utf8.first, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return first == 0x30 && text.utf8.count > 1 ? nil : Int(text)
    }

    private static func isClean(_ bytes: ArraySlice<UInt8>) -> Bool {
        if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return true }
        return String(validating: bytes, as: UTF8.self)?.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
            == true
    }

    private static func shown(_ text: String) -> String { Text.lines(text).first ?? "" }
}

extension Substring {
    fileprivate func dropping(_ prefix: String) -> Substring? {
        utf8.starts(with: prefix.utf8) ? Substring(utf8.dropFirst(prefix.utf8.count)) : nil
    }
}
