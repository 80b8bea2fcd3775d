import Glibc
import SystemPackage

/// A new directory for as long as somebody needs it, `prefix` and six letters.
///
/// Who is killed leaves it behind, without its lock; whoever makes the next one of that prefix removes it.
package final class ScratchDirectory: Sendable {
    package let path: FilePath
    private let lock: FileLock

    package init(_ prefix: FilePath) throws {
        Self.sweep(prefix)
        (path, lock) = try Self.make(prefix)
    }

    /// Another's sweep may take it before it has its lock.
    private static func make(_ prefix: FilePath, tries: Int = 20) throws -> (FilePath, FileLock) {
        do {
            let path = try Files.createTemporaryDirectory(prefix)
            guard let lock = try FileLock(tryingDirectory: path), Files.exists(path) else { throw Errno.wouldBlock }
            return (path, lock)
        } catch {
            guard tries > 1 else { throw error }
            return try make(prefix, tries: tries - 1)
        }
    }

    package func remove() { try? Files.removeTree(path) }

    /// Only what is ours or the sandbox's: in another's, names could be exchanged while we go through them.
    private static func sweep(_ prefix: FilePath) {
        let name = (prefix.lastComponent?.string ?? "") + "."
        for path in (try? Files.children(prefix.removingLastComponent())) ?? [] {
            var status = stat()
            guard path.lastComponent?.string.hasPrefix(name) == true, path.withPlatformString({ lstat($0, &status) }) == 0,
                status.st_uid == geteuid() || status.st_uid == Sandbox.user,
                let lock = try? FileLock(tryingDirectory: path)
            else { continue }
            try? Files.removeTree(path)
            lock.release()
        }
    }
}
