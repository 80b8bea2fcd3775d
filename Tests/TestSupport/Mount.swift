import AutonKit
import Glibc
import SystemPackage

/// A file system of a test's own: small enough to be full, or read-only, which binds root too. Gone with the value.
package final class Mount: Sendable {
    package let path: FilePath

    /// Whether this process may mount.
    package static let isPossible: Bool = {
        guard geteuid() == 0, let directory = try? TemporaryDirectory() else { return false }
        return (try? Mount(at: directory["probe"], bytes: 65536)) != nil
    }()

    package static let reason = "needs to mount a file system"

    package init(at path: FilePath, bytes: Int) throws {
        self.path = path
        try Files.createDirectories(path)
        guard mount("none", path.string, "tmpfs", 0, "size=\(bytes)") == 0 else {
            throw AutonError(.badConfiguration, "cannot mount: \(Errno(rawValue: errno))", at: path.string)
        }
    }

    package func makeReadOnly() throws {
        guard mount(nil, path.string, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0 else {
            throw AutonError(.badConfiguration, "cannot remount: \(Errno(rawValue: errno))", at: path.string)
        }
    }

    /// Bytes free.
    package var free: Int {
        var status = statvfs()
        return statvfs(path.string, &status) == 0 ? Int(status.f_bavail) * Int(status.f_frsize) : 0
    }

    deinit { umount2(path.string, Int32(MNT_DETACH)) }
}
