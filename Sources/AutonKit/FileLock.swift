import Glibc
import SystemPackage

/// An exclusive lock on a file, held until the value goes away or the process ends, however it ends.
package final class FileLock: Sendable {
    private let file: FileDescriptor

    /// Takes the lock, waiting for whoever holds it.
    package init(_ path: FilePath) throws {
        file = try Self.open(path)
        try Self.wait(file, LOCK_EX, path)
    }

    /// Takes the lock together with others that only read: nobody writes meanwhile. The file must be there; it may be read-only.
    package init(shared path: FilePath) throws {
        file = try Files.failing("cannot lock", at: path) { try FileDescriptor.open(path, .readOnly, options: .closeOnExec) }
        try Self.wait(file, LOCK_SH, path)
    }

    /// Takes the lock, or returns nil if another process holds it.
    package init?(trying path: FilePath) throws {
        file = try Self.open(path)
        // Closed by deinit, which runs for a value that comes to nothing, too.
        if flock(file.rawValue, LOCK_EX | LOCK_NB) != 0 { return nil }
    }

    /// Takes the lock of a directory, a link to one not followed, or returns nil if another process holds it.
    package init?(tryingDirectory path: FilePath) throws {
        file = try Files.failing("cannot lock", at: path) {
            try FileDescriptor.open(path, .readOnly, options: [.directory, .noFollow, .closeOnExec])
        }
        if flock(file.rawValue, LOCK_EX | LOCK_NB) != 0 { return nil }
    }

    /// The names of the locks in a directory that somebody holds, told without touching them; none where that cannot be told.
    ///
    /// A line is `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`: https://man7.org/linux/man-pages/man5/proc_locks.5.html
    package static func held(in directory: FilePath) -> Set<String> {
        let lines = (try? Files.readText("/proc/locks"))?.split(separator: "\n").map { $0.split(separator: " ") } ?? []
        let inodes = Set(
            lines.filter { $0.count > 5 && $0[1] == "FLOCK" }.compactMap { $0[5].split(separator: ":").last.map(String.init) })
        let names = (try? Files.list(directory)) ?? []
        return Set(names.filter { Files.inode(of: directory.appending($0)).map { inodes.contains(String($0)) } ?? false })
    }

    deinit {
        // Closing alone would leave the lock to a child that is between its fork and its exec.
        release()
        try? file.close()
    }

    /// Gives the lock back before the value goes away.
    package func release() { flock(file.rawValue, LOCK_UN) }

    private static func wait(_ file: FileDescriptor, _ kind: Int32, _ path: FilePath) throws {
        while flock(file.rawValue, kind) != 0 {
            if errno != EINTR { throw AutonError(.bug, "cannot lock: \(Errno(rawValue: errno))", at: path.string) }
        }
    }

    private static func open(_ path: FilePath) throws -> FileDescriptor {
        try Files.createDirectories(path.removingLastComponent())
        return try Files.failing("cannot lock", at: path) {
            try FileDescriptor.open(
                path, .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
        }
    }
}
