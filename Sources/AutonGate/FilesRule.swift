import AutonKit

/// A kernel tree holds plain files with plain names: no links, submodules or executables, and nothing that git takes
/// orders from (`.gitattributes`, `.gitmodules`, …).
package struct FilesRule: DiffRule {
    package static let name = "files"

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted }.flatMap { file in
            let isPlaceholder = file.path.hasSuffix("/.gitkeep") && file.newSize == 0
            return (faults(of: isPlaceholder ? String(file.path.dropLast(9)) : file.path) + faults(of: file.newMode)).map {
                "\(Text.path(file.path)): \($0)"
            }
        }
    }

    private func faults(of mode: Int) -> [String] {
        switch mode {
        case 0o100644: []
        case 0o100755: ["executable"]
        case 0o120000: ["a symbolic link"]
        case 0o160000: ["a submodule"]
        default: ["mode \(String(mode, radix: 8))"]
        }
    }

    /// Names go through make, the shell and the compiler's command line, and are printed on terminals.
    private func faults(of path: String) -> [String] {
        var faults: [String] = []
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if !path.utf8.allSatisfy(isPlain) || parts.contains(where: { $0.hasPrefix("-") }) {
            faults.append("its name is not made of letters, digits and . _ + - alone")
        }
        if parts.contains(where: { ["", ".", ".."].contains($0) }) { faults.append("its name leads elsewhere") }
        if parts.contains(where: { $0.lowercased().hasPrefix(".git") }) { faults.append("git would take orders from it") }
        return faults
    }

    private func isPlain(_ byte: UInt8) -> Bool {
        byte.isLetterOrDigit || "/._+-".utf8.contains(byte)
    }
}
