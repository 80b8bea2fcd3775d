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
                leftOut += try Self.copy(source.appending(name), to: scratch.path.appending(name), name)
            }
            self.leftOut = leftOut
            try Worktree.handOver(scratch.path)
        } catch {
            scratch.remove()
            throw error
        }
    }

    private static func copy(_ source: FilePath, to target: FilePath, _ name: String) throws -> [String] {
        var status = stat()
        guard source.withPlatformString({ lstat($0, &status) }) == 0 else { return [] }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            try Files.createDirectories(target)
            return try Files.children(source).flatMap { inside in
                guard let component = inside.lastComponent else { return [String]() }
                return try copy(inside, to: target.appending(component), "\(name)/\(component.string)")
            }
        case S_IFREG where status.st_size > Change.largestFile:
            return ["\(Text.path(name)): \(status.st_size) bytes, the limit is \(Change.largestFile)"]
        case S_IFREG:
            try Files.copyTree(source, to: target)
            return []
        case S_IFLNK: return ["\(Text.path(name)): a symbolic link"]
        default: return ["\(Text.path(name)): neither file nor directory"]
        }
    }

    func remove() { scratch.remove() }
}
