import AutonKit
import Glibc
import SystemPackage

/// A copy of a kernel tree's sources that the sandbox may write to.
struct TemporaryCopy {
    let root: FilePath

    init(of source: FilePath) throws {
        root = try TemporaryDirectory.make("/tmp/auton-tree")
        for name in try Files.list(source) where name != "build" && !name.hasPrefix(".") {
            try Self.copy(source.appending(name), to: root.appending(name))
        }
        try Worktree.handOver(root)
    }

    /// Links are left out: they would show the sandbox what they lead to.
    static func copy(_ source: FilePath, to target: FilePath) throws {
        switch Files.type(of: source) {
        case S_IFDIR:
            try Files.createDirectories(target)
            for name in try Files.list(source) { try copy(source.appending(name), to: target.appending(name)) }
        case S_IFREG: try Files.write(target, try Files.read(source), sync: false)
        default: break
        }
    }

    func remove() { try? Files.removeTree(root) }
}
