import AutonKit
import SystemPackage

/// A copy of a kernel tree's sources that the sandbox may write to.
struct TemporaryCopy {
    let root: FilePath

    init(of source: FilePath) throws {
        root = try TemporaryDirectory.make("/tmp/auton-tree")
        for name in try Files.list(source) where name != "build" && !name.hasPrefix(".") {
            try Files.copyTree(source.appending(name), to: root.appending(name))
        }
        try Worktree.handOver(root)
    }

    func remove() { try? Files.removeTree(root) }
}
