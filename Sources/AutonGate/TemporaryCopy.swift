import AutonKit
import Glibc
import SystemPackage

/// A copy of a kernel tree's sources that the sandbox may write to.
struct TemporaryCopy {
    let root: FilePath
    /// What is no plain file and was left out, with what it is.
    let leftOut: [String]

    init(of source: FilePath) throws {
        root = try TemporaryDirectory.make("/tmp/auton-tree")
        var leftOut: [String] = []
        for name in try Files.list(source) where name != "build" && !name.hasPrefix(".") {
            try Files.copyTree(source.appending(name), to: root.appending(name))
            leftOut += try Self.oddities(source.appending(name), name)
        }
        self.leftOut = leftOut
        try Worktree.handOver(root)
    }

    private static func oddities(_ path: FilePath, _ name: String) throws -> [String] {
        switch Files.type(of: path) {
        case S_IFREG: []
        case S_IFDIR: try Files.children(path).flatMap { try oddities($0, "\(name)/\($0.lastComponent?.string ?? "")") }
        case S_IFLNK: ["\(Text.path(name)): a symbolic link"]
        default: ["\(Text.path(name)): neither file nor directory"]
        }
    }

    func remove() { try? Files.removeTree(root) }
}
