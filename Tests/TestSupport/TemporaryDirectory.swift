import AutonKit
import Glibc
import SystemPackage

/// A directory of a test's own, gone with it.
package final class TemporaryDirectory: Sendable {
    package let path: FilePath

    package init() throws {
        path = try Files.createTemporaryDirectory(Files.scratch.appending("auton-test"))
        // Commands in the sandbox are another user.
        chmod(path.string, 0o755)
    }

    deinit { try? Files.removeTree(path) }

    package subscript(name: String) -> FilePath { path.appending(name) }

    /// Writes a file, making the directories above it.
    @discardableResult
    package func write(_ name: String, _ text: String) throws -> FilePath {
        let file = self[name]
        try Files.createDirectories(file.removingLastComponent())
        try Files.write(file, Array(text.utf8), sync: false)
        return file
    }

    /// Whether nobody holds the lock on a file any more: whoever held it, in whatever namespace, is dead.
    package func isReleased(_ name: String) async throws -> Bool {
        for _ in 0..<300 {
            if try FileLock(trying: self[name]) != nil { return true }
            try await Task.sleep(for: .milliseconds(100))
        }
        return false
    }

    package func read(_ name: String) throws -> String { try Files.readText(self[name]) }

    /// Every file below, relative, with its text; symbolic links as `-> target`.
    package func contents(of name: String = "", without: Set<String> = []) throws -> [String: String] {
        var found: [String: String] = [:]
        func walk(_ directory: FilePath, _ prefix: String) throws {
            for name in try Files.list(directory) where !without.contains(prefix + name) {
                let place = directory.appending(name)
                switch Files.type(of: place) {
                case S_IFDIR: try walk(place, prefix + name + "/")
                case S_IFLNK: found[prefix + name] = "-> link"
                default: found[prefix + name] = try Files.readText(place)
                }
            }
        }
        try walk(name.isEmpty ? path : self[name], "")
        return found
    }
}
