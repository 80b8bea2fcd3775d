/// A task changes its own paths only: files (`boot/entry.asm`), and directories (`boot/`) with all that is in them.
package struct ScopeRule: DiffRule {
    package static let name = "scope"
    package var paths: [String]

    package init(paths: [String]) { self.paths = paths }

    package func violations(in change: Change) -> [String] {
        change.files.map(\.path).filter { !allows($0) }.map {
            "\($0): not one of the task's paths (\(paths.joined(separator: ", ")))"
        }
    }

    private func allows(_ path: String) -> Bool {
        paths.contains { $0.hasSuffix("/") ? path.utf8.starts(with: $0.utf8) && path != $0 : path == $0 }
    }
}
