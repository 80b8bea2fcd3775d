/// Finds what somebody meant to write.
enum Nearest {
    /// The known key, or table, nearest to a key that is not known; nil if none is near.
    ///
    /// Near is a word of the right name (`url` for `base_url`), then a slip or two of the hand, then the right name in the wrong
    /// table, and at last the table alone.
    static func key(to written: [String]) -> String? {
        let prices = written.first == "prices" && written.count > 1 ? Setting.prices(of: written[1]) : []
        let known = (Setting.all + prices).map(\.parts) + Setting.tables
        let name = written.last ?? "", table = written.dropLast()
        func nearest(_ isNear: ([String]) -> Bool) -> [String]? {
            // In one order whatever the set of tables has.
            known.filter(isNear).map { (distance(joined(written), joined($0)), joined($0), $0) }
                .min { ($0.0, $0.1) < ($1.0, $1.1) }?.2
        }
        let found =
            nearest { $0.last!.split(separator: "_").contains(name[...]) && isSlip(table, $0.dropLast()) }
            ?? nearest { isSlip(written[...], $0[...]) || distance(joined(written), joined($0)) == 1 }
            ?? nearest { $0.last == name }
            ?? strange(written).flatMap { start in nearest { Setting.isTable($0) && isSlip(start, $0[...]) } }
        return found.map(SettingValue.key)
    }

    /// The shortest start of a key that names no table, the key itself apart; nil if all do.
    private static func strange(_ written: [String]) -> ArraySlice<String>? {
        (1..<max(1, written.count)).map { written.prefix($0) }.first { !Setting.isTable(Array($0)) }
    }

    private static func joined(_ parts: [String]) -> String { parts.joined(separator: ".") }

    /// Whether each part is at most a third of its letters away from the other's, or one letter.
    private static func isSlip(_ written: ArraySlice<String>, _ known: ArraySlice<String>) -> Bool {
        written.count == known.count
            && zip(written, known).allSatisfy {
                distance($0, $1) <= max(1, max($0.unicodeScalars.count, $1.unicodeScalars.count) / 3)
            }
    }

    /// Letters to be put in, taken out, changed or swapped with their neighbour to make one text of the other (the optimal string
    /// alignment).
    static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.unicodeScalars), b = Array(b.unicodeScalars)
        // The rows of the matrix for the letters of `a` so far, all but the last two done with.
        var before = [Int](), row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var next = [i + 1]
            for (j, y) in b.enumerated() {
                var least = min(row[j] + (x == y ? 0 : 1), next[j] + 1, row[j + 1] + 1)
                if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y { least = min(least, before[j - 1] + 1) }
                next.append(least)
            }
            (before, row) = (row, next)
        }
        return row[b.count]
    }
}
