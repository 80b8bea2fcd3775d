/// Rows of text in columns that line up, each on one line whatever the text is.
package enum Table {
    package static func format(_ rows: [[String]]) -> String {
        let rows = rows.map { $0.map { $0.replacing("\n", with: " ").replacing("\t", with: " ").defanged } }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 2)
            }.joined()
        }.joined(separator: "\n")
    }
}
