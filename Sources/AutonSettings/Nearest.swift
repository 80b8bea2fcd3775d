/// Finds what somebody meant to write.
enum Nearest {
    /// The known key nearest to one that is not; nil if none is near.
    ///
    /// Near is a slip of the hand, a third of the key at most, or the right name in the wrong table.
    static func key(to parts: [String]) -> String? {
        let written = parts.joined(separator: ".")
        let prices = parts.first == "prices" && parts.count > 1 ? Setting.prices(of: parts[1]) : []
        let known = (Setting.all + prices).map(\.parts) + Setting.tables
        let nearest = known.map { (distance(written, $0.joined(separator: ".")), SettingValue.key($0)) }.min { $0 < $1 }
        if let (slips, key) = nearest, slips <= max(1, written.count / 3) { return key }
        return known.first { $0.last == parts.last }.map(SettingValue.key)
    }

    /// Letters to be put in, taken out or changed to make one text of the other.
    static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.unicodeScalars), b = Array(b.unicodeScalars)
        // The row of the matrix for the letters of `a` so far.
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                (diagonal, row[j + 1]) = (row[j + 1], min(diagonal + (x == y ? 0 : 1), row[j] + 1, row[j + 1] + 1))
            }
        }
        return row[b.count]
    }
}
