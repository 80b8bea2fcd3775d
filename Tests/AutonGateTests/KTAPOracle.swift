import AutonMessages

@testable import AutonGate

/// What a report says, read the plain way: all of it at hand, a regular expression a kind of line, and then the grammar
/// from the top. Nothing of it is shared with the parser.
struct KTAPOracle {
    private struct Token {
        var kind: String
        var level = 0
        var number = 0
        var name = ""
        var outcome = TestResult.Outcome.ok
        var words: [String] = []
    }

    private nonisolated(unsafe) static let suspicious = expression(
        "^[ \t]*(ok (0|[1-9][0-9]{0,17})( |$)|1\\.\\.(0|[1-9][0-9]{0,17})( *$| +#)|not ok( |$)|KTAP version |TAP version |[Bb][Aa][Ii][Ll] [Oo][Uu][Tt]!)"
    )
    private nonisolated(unsafe) static let ours = expression(
        "^# (run [A-Za-z0-9_]+\\.[A-Za-z0-9_]+$|auton nonce |auton end |harness: )")
    private nonisolated(unsafe) static let assertion = expression("^# .*:[0-9]+: KASSERT")
    private nonisolated(unsafe) static let good = expression(
        "^(  )*(ok [0-9]|not ok (0|[1-9][0-9]{0,17})( |$)|KTAP version |TAP version |1\\.\\.[0-9])|^# ")

    private nonisolated(unsafe) static let skip = expression("^[Ss][Kk][Ii][Pp]")
    private nonisolated(unsafe) static let failure = expression(
        "^([Tt][Ii][Mm][Ee][Oo][Uu][Tt]|[Ee][Rr][Rr][Oo][Rr]|[Xx][Ff][Aa][Ii][Ll]|[Tt][Oo][Dd][Oo])([^A-Za-z]|$)")

    private static func expression(_ pattern: String) -> RegularExpression { RegularExpression(pattern)! }

    /// Names and outcomes; nil if the report is not to be believed.
    static func results(of bytes: [UInt8], nonce: String) -> [TestResult]? {
        var tokens: [Token] = []
        let lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            guard let found = token(Array(line)) else { continue }
            if found.kind == "bad" || index == lines.count - 1 { return nil }
            tokens.append(found)
        }
        func only(_ kind: String) -> Token? {
            tokens.filter { $0.kind == kind }.count == 1 ? tokens.first { $0.kind == kind } : nil
        }
        let outer = tokens.filter { $0.level == 0 }.map(\.kind)
        guard only("nonce")?.name == nonce, let end = only("end"), tokens.last(where: { $0.kind != "assertion" })?.kind == "end",
            end.words.first == nonce,
            outer.filter({ $0 == "version" || $0 == "plan" || $0 == "result" || $0 == "end" }).starts(with: ["version", "plan"]),
            outer.filter({ $0 == "version" }).count == 1, outer.filter({ $0 == "plan" }).count == 1,
            (outer.firstIndex(of: "nonce") ?? 0) < (outer.firstIndex(of: "result") ?? .max)
        else { return nil }
        // The text between two results of the report itself belongs to the second of them.
        var results: [TestResult] = [], counts = ["ok": 0, "not-ok": 0, "skip": 0], since: [Token] = []
        for token in tokens {
            guard token.kind == "result" && token.level == 0 else {
                since.append(token)
                continue
            }
            guard token.number == results.count + 1, since.filter({ $0.kind == "run" }).map(\.name) == [token.name],
                !results.contains(where: { $0.name == token.name })
            else { return nil }
            counts[token.outcome.rawValue, default: 0] += 1
            let run = since.firstIndex { $0.kind == "run" } ?? 0
            if since[..<run].contains(where: { $0.level > 0 }) { return nil }
            if token.outcome != .notOk, since[run...].contains(where: { $0.kind == "assertion" }) { return nil }
            let inside = since[run...].filter { $0.kind != "nonce" && $0.kind != "assertion" }.drop { $0.level == 0 }
            let children = Array(inside.reversed().drop { $0.level == 0 }.reversed())
            results.append(
                TestResult(name: token.name, outcome: children.isEmpty || passes(children, 1) ? token.outcome : .notOk))
            since = []
        }
        let plan = tokens.first { $0.kind == "plan" && $0.level == 0 }?.number
        guard plan == results.count, !since.contains(where: { $0.level > 0 || $0.kind == "run" }),
            Array(end.words.dropFirst()) == [
                "pass", "\(counts["ok"]!)", "fail", "\(counts["not-ok"]!)", "skip", "\(counts["skip"]!)",
            ]
        else { return nil }
        return results
    }

    /// Whether a block of subtests is whole, and none of them failed.
    private static func passes(_ tokens: [Token], _ level: Int) -> Bool {
        let own = tokens.filter { $0.level == level }
        guard own.first?.kind == "version", tokens.first?.level == level, tokens.allSatisfy({ $0.level >= level }), own.count > 1,
            own[1].kind == "plan",
            own.dropFirst(2).allSatisfy({ $0.kind == "result" }), own[1].number == own.count - 2, tokens.last?.level == level
        else { return false }
        var deeper: [Token] = []
        for (index, token) in tokens.enumerated() {
            if token.level > level {
                deeper.append(token)
                continue
            }
            if !deeper.isEmpty && (token.kind != "result" || !passes(deeper, level + 1)) { return false }
            deeper = []
            if token.kind == "result" {
                let place = tokens[...index].filter { $0.level == level && $0.kind == "result" }.count
                if token.number != place || token.outcome == .notOk { return false }
            }
        }
        return true
    }

    /// Nil for a line that does not count.
    private static func token(_ bytes: [UInt8]) -> Token? {
        var line = String(decoding: bytes.map { $0 == 0 ? 1 : $0 }, as: UTF8.self)
        while line.utf8.last == 13 { line = String(decoding: line.utf8.dropLast(), as: UTF8.self) }
        if assertion.matches(line) { return Token(kind: "assertion") }
        guard suspicious.matches(line) || ours.matches(line) else { return nil }
        let isText = String(decoding: bytes, as: UTF8.self).utf8.elementsEqual(bytes)
        let hasControls = line.unicodeScalars.contains { $0.value < 32 || (127...159).contains($0.value) }
        guard good.matches(line), isText, !hasControls, bytes.count <= LineReader.longest else { return Token(kind: "bad") }
        let text = line.drop { $0 == " " }, level = (line.count - text.count) / 2
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        if level > 16 { return Token(kind: "bad") }
        switch (words[0], words.count > 1 ? words[1] : "") {
        case ("KTAP", _), ("TAP", _):
            return Token(kind: text == "KTAP version 1" ? "version" : level > 0 ? "wrong version" : "bad", level: level)
        case ("#", "run"): return Token(kind: "run", name: words.dropFirst(2).joined(separator: " "))
        case ("#", "auton") where words[2] == "nonce":
            return Token(kind: "nonce", name: words.dropFirst(3).joined(separator: " "))
        case ("#", "auton"): return Token(kind: "end", words: Array(words.dropFirst(3)))
        case ("#", _): return Token(kind: "bad")
        case ("ok", let number): return result(level, true, number, words.dropFirst(2).joined(separator: " "))
        case ("not", _): return result(level, false, words[2], words.dropFirst(3).joined(separator: " "))
        default: return Token(kind: "plan", level: level, number: Int(words[0].dropFirst(3).split(separator: "#")[0])!)
        }
    }

    private static func result(_ level: Int, _ isOK: Bool, _ number: String, _ text: String) -> Token {
        let text = text.hasPrefix("- ") ? String(text.dropFirst(2)) : text
        let parts = text.replacing("\\\\", with: "\u{1}").replacing("\\#", with: "\u{2}")
            .split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var name = parts[0].replacing("\u{1}", with: "\\").replacing("\u{2}", with: "#")
        while name.hasSuffix(" ") { name.removeLast() }
        let word = String((parts.dropFirst().first ?? "").drop { $0 == " " })
        return Token(
            kind: "result", level: level, number: Int(number)!, name: name.isEmpty ? "test \(number)" : name,
            outcome: !isOK || failure.matches(word) ? .notOk : skip.matches(word) ? .skip : .ok)
    }
}
