import AutonKit
import Glibc
import SystemPackage

/// A copy of a kernel tree's sources that the sandbox may write to.
struct TemporaryCopy {
    private let scratch: ScratchDirectory
    var root: FilePath { scratch.path }
    /// What was left out, with the reason: what is no plain file, or larger than a file may be.
    let leftOut: [String]

    init(of source: FilePath) throws {
        scratch = try ScratchDirectory("/tmp/auton-tree")
        do {
            var leftOut: [String] = []
            for name in try Files.list(source) where name != "build" && !name.hasPrefix(".") {
                try Files.copyTree(
                    source.appending(name), to: scratch.path.appending(name), filesUpTo: Change.largestFile
                ) { path, status in
                    let inside = String(path.string.dropFirst(source.string.count + 1))
                    leftOut.append("\(Text.path(inside)): \(Self.what(status))")
                }
            }
            leftOut.sort()
            self.leftOut = leftOut
            try Worktree.handOver(scratch.path)
        } catch {
            scratch.remove()
            throw error
        }
    }

    private static func what(_ status: stat) -> String {
        switch status.st_mode & S_IFMT {
        case S_IFREG: "\(status.st_size) bytes, the limit is \(Change.largestFile)"
        case S_IFLNK: "a symbolic link"
        default: "neither file nor directory"
        }
    }

    func remove() { scratch.remove() }
}
