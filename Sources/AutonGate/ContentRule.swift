import AutonKit

/// Files are text, in UTF-8, and of a size that people read.
package struct ContentRule: DiffRule {
    package static let name = "content"

    package init() {}

    package func violations(in change: Change) -> [String] {
        let whole = change.unread.map { ["the change is too large to be read: \($0)"] } ?? []
        return whole
            + change.files.filter { $0.status != .deleted && $0.newMode & 0o170000 == 0o100000 }.compactMap { file in
                fault(of: file).map { "\(Text.path(file.path)): \($0)" }
            }
    }

    private func fault(of file: ChangedFile) -> String? {
        guard let size = file.newSize else { return "its contents are missing" }
        if size > Change.largestFile { return "\(size) bytes, the limit is \(Change.largestFile)" }
        guard let text = file.text else { return nil }
        if text.contains(0) { return "binary" }
        return String(validating: text, as: UTF8.self) == nil ? "not UTF-8" : nil
    }
}
