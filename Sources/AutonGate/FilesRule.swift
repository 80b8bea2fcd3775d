/// A kernel tree holds plain text files with plain names.
package struct FilesRule: DiffRule {
    package static let name = "files"
    /// Bytes.
    package static let largest = 256 << 10

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted }.flatMap { file in
            (faults(of: file.path) + faults(of: file)).map { "\(shown(file.path)): \($0)" }
        }
    }

    private func faults(of file: Change.File) -> [String] {
        switch file.newMode {
        case 0o100644: break
        case 0o100755: return ["executable"]
        case 0o120000: return ["a symbolic link"]
        case 0o160000: return ["a submodule"]
        default: return ["mode \(String(file.newMode, radix: 8))"]
        }
        guard let size = file.newSize else { return ["its contents are missing"] }
        if size > Self.largest { return ["\(size) bytes, the limit is \(Self.largest)"] }
        if file.isBinary { return ["binary"] }
        return file.isUTF8 ? [] : ["not UTF-8"]
    }

    /// Names go through make, the shell and the compiler's command line, and are printed on terminals.
    private func faults(of path: String) -> [String] {
        var faults: [String] = []
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if !path.utf8.allSatisfy(isPlain) || parts.contains(where: { $0.hasPrefix("-") }) {
            faults.append("its name is not made of letters, digits and . _ + - alone")
        }
        if parts.contains(where: { $0.lowercased().hasPrefix(".git") }) { faults.append("git would take orders from it") }
        if parts.first == "build" && parts.count > 1 { faults.append("build/ is what make makes") }
        return faults
    }

    private func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "/._+-".utf8.contains(byte)
        }
    }

    private func shown(_ path: String) -> String { Text.lines(path).joined(separator: "?") }
}
