/// Text from a kernel or a compiler, made fit to be shown to people and models.
enum Text {
    static let longestLine = 300

    /// Lines without their line ends, control characters replaced, none longer than a screen or three.
    static func lines(_ text: String) -> [String] {
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { clean($0) }
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    private static func clean(_ line: Substring.UTF8View) -> String {
        var line = line
        while line.last == UInt8(ascii: "\r") { line.removeLast() }
        if line.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) && line.count <= longestLine { return String(Substring(line)) }
        var scalars = String.UnicodeScalarView()
        for scalar in String(Substring(line)).unicodeScalars.prefix(longestLine) {
            let isControl = scalar.properties.generalCategory == .control && scalar != "\t"
            scalars.append(isControl ? "?" : scalar)
        }
        return String(scalars) + (line.count > longestLine && scalars.count == longestLine ? " […]" : "")
    }

    /// A path on one line.
    static func path(_ path: String) -> String { lines(path).joined(separator: "?").replacing("\t", with: "?") }

    /// The first lines, and how many more there are.
    static func head(_ lines: [String], _ count: Int) -> [String] {
        lines.count <= count ? lines : lines.prefix(count) + ["[… \(lines.count - count) more lines]"]
    }

    static func tail(_ lines: [String], _ count: Int) -> [String] {
        lines.count <= count ? lines : ["[… \(lines.count - count) earlier lines]"] + lines.suffix(count)
    }

    /// The first few names, and how many more there are.
    static func list(_ names: [String], _ count: Int = 3) -> String {
        let shown = names.prefix(count).joined(separator: ", ")
        return names.count <= count ? shown : "\(shown) and \(names.count - count) more"
    }

    static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// 10 or 0.5, not 10.0.
    static func number(_ number: Double) -> String { Int(exactly: number).map { "\($0)" } ?? "\(number)" }

    static func seconds(_ seconds: Double) -> String { "\(number(seconds)) s" }

    /// 1234567 as 1,234,567.
    static func grouped(_ number: Int) -> String {
        let digits = Array(String(number.magnitude))
        let grouped = digits.indices.map { index in
            (index > 0 && (digits.count - index) % 3 == 0 ? "," : "") + String(digits[index])
        }
        return (number < 0 ? "-" : "") + grouped.joined()
    }

    /// From `old` to `new` in per cent: `+14.6%`.
    static func change(_ new: some BinaryInteger, _ old: some BinaryInteger) -> String { change(Double(new), Double(old)) }

    static func change(_ new: Double, _ old: Double) -> String {
        guard old > 0 else { return new > 0 ? "+∞%" : "+0.0%" }
        let share = (new - old) / old * 100
        // Whole tenths; what is left of a change that rounds to none still has its sign.
        let tenths = Int(min(abs(share) * 10, 1e15).rounded())
        return "\(share < 0 ? "-" : "+")\(tenths / 10).\(tenths % 10)%"
    }
}

extension String {
    /// What follows `prefix`; nil if that is not how it begins.
    func dropping(_ prefix: String) -> String? {
        utf8.starts(with: prefix.utf8) ? String(self.utf8.dropFirst(prefix.utf8.count)) : nil
    }
}
