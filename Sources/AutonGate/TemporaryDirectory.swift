import AutonKit
import Glibc
import SystemPackage

/// A new directory that nobody else has the name of.
enum TemporaryDirectory {
    static func make(_ prefix: FilePath) throws -> FilePath {
        try Files.failing("cannot create directory", at: prefix) {
            guard let path = strdup(prefix.string + ".XXXXXX") else { throw Errno.noMemory }
            defer { free(path) }
            // The sandbox enters it before it has become who owns it, and without root's privileges.
            guard mkdtemp(path) != nil, chmod(path, 0o755) == 0 else { throw Errno(rawValue: errno) }
            return FilePath(String(cString: path))
        }
    }
}
