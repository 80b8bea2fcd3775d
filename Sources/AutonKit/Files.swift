import CLinux
import Glibc
import SystemPackage

/// Files, read whole and written so that a crash or a power loss leaves either the old state or the new one.
package enum Files {
    /// All of a file, or of a pipe until it ends.
    ///
    /// - Parameters:
    ///   - offset: where a file is read from, in bytes.
    ///   - limit: the bytes that there may be.
    package static func read(_ path: FilePath, from offset: Int = 0, atMost limit: Int = .max) throws -> [UInt8] {
        try failing("cannot read", at: path) {
            let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
            return try file.closeAfter {
                if offset > 0 { try file.seek(offset: Int64(offset), from: .start) }
                return try read(file, atMost: limit)
            }
        }
    }

    /// All that is left of an open file.
    package static func read(_ file: FileDescriptor, atMost limit: Int = .max) throws -> [UInt8] {
        var status = stat()
        fstat(file.rawValue, &status)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: max(4096, min(Int(status.st_size), limit) + 1))
        while true {
            let count = try chunk.withUnsafeMutableBytes { try file.read(into: $0) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            if bytes.count > limit { throw Errno.fileTooLarge }
        }
    }

    package static func readText(_ path: FilePath) throws -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    /// Writes a new file through `temporary`, on the same file system: write, fsync, rename, fsync of the directory.
    ///
    /// - Returns: false if `path` exists already; it is left as it was.
    package static func createDurably(_ path: FilePath, _ bytes: [UInt8], temporary: FilePath) throws -> Bool {
        try writeTemporary(temporary, bytes, sync: true)
        guard try renameNew(temporary, to: path) else {
            _ = try? failing("cannot remove", at: temporary) { try posix(unlink(temporary.string)) }
            return false
        }
        try syncDirectory(path.removingLastComponent())
        return true
    }

    /// Replaces a file that is no message (a make fragment, a cache): the reader sees the old or the new one.
    ///
    /// - Parameter temporary: where it is written first, on the same file system; beside `path` if left out.
    package static func replace(_ path: FilePath, _ bytes: [UInt8], temporary: FilePath? = nil) throws {
        let temporary = temporary ?? path.appending(".\(UInt64.random(in: 0 ... .max)).tmp", toLastComponent: true)
        try writeTemporary(temporary, bytes, sync: true)
        try failing("cannot rename", at: path) { try posix(rename(temporary.string, path.string)) }
        try syncDirectory(path.removingLastComponent())
    }

    /// Writes a file that is to be renamed. If that fails nothing of it remains: it would keep a full disk full.
    package static func writeTemporary(_ path: FilePath, _ bytes: [UInt8], sync: Bool) throws {
        do {
            try write(path, bytes, sync: sync)
        } catch {
            unlink(path.string)
            throw error
        }
    }

    package static func write(_ path: FilePath, _ bytes: [UInt8], sync: Bool) throws {
        try failing("cannot write", at: path) {
            let file = try FileDescriptor.open(
                path, .writeOnly, options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter {
                try file.writeAll(bytes)
                if sync { try posix(fsync(file.rawValue)) }
            }
        }
    }

    /// Renames unless the target exists; false if it does.
    package static func renameNew(_ from: FilePath, to path: FilePath) throws -> Bool {
        if from.withPlatformString({ from in path.withPlatformString { auton_rename_new(from, $0) } }) == 0 { return true }
        if errno == EEXIST { return false }
        let code = Errno(rawValue: errno)
        return try failing("cannot file", at: path) { throw code }
    }

    package static func syncDirectory(_ path: FilePath) throws {
        try failing("cannot sync", at: path) {
            let directory = try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
            try directory.closeAfter { try posix(fsync(directory.rawValue)) }
        }
    }

    /// Flushes the whole file system that `path` lies on: one call in place of one fsync for each of many files.
    package static func syncFileSystem(of path: FilePath) throws {
        try failing("cannot sync", at: path) {
            let directory = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
            try directory.closeAfter { try posix(auton_syncfs(directory.rawValue)) }
        }
    }

    package static func createDirectories(_ path: FilePath) throws {
        if isDirectory(path) { return }
        if path.components.count > 1 { try createDirectories(path.removingLastComponent()) }
        if mkdir(path.string, 0o755) == 0 { return }
        let code = Errno(rawValue: errno)
        // Another process may have made it meanwhile.
        if code != .fileExists || !isDirectory(path) { try failing("cannot create directory", at: path) { throw code } }
    }

    /// Where that is best made which is gone soon: in memory, if programs can be run there and a gibibyte is free, else in /tmp.
    ///
    /// ext4 goes through all that was deleted in the last minute before it makes another file (`recently_deleted` of Linux's
    /// fs/ext4/ialloc.c): where many small trees come and go that is a third of the time.
    package static let scratch: FilePath = {
        let memory = FilePath("/dev/shm"), noExecution: UInt = 8  // ST_NOEXEC of sys/statvfs.h
        var status = statvfs()
        let isGood =
            statvfs(memory.string, &status) == 0 && status.f_flag & noExecution == 0
            && status.f_bavail * status.f_frsize >= 1 << 30 && access(memory.string, W_OK | X_OK) == 0
        return isGood ? memory : "/tmp"
    }()

    /// Makes a new directory that nobody else has the name of, `prefix` and six letters.
    package static func createTemporaryDirectory(_ prefix: FilePath) throws -> FilePath {
        try failing("cannot create directory", at: prefix) {
            guard let path = strdup(prefix.string + ".XXXXXX") else { throw Errno.noMemory }
            defer { free(path) }
            // The sandbox enters it before it has become who owns it, and without root's privileges.
            guard mkdtemp(path) != nil, chmod(path, 0o755) == 0 else { throw Errno(rawValue: errno) }
            return FilePath(String(cString: path))
        }
    }

    /// Removes a tree; symbolic links are removed, never followed. Nothing there is no error, nor is a tree that somebody has
    /// locked or made deeper than a path can be long.
    package static func removeTree(_ path: FilePath) throws {
        var left = [path], lifted = 0
        func remove(_ place: inout TreePlace) throws {
            guard let type = place.type else { return }
            if type == S_IFDIR {
                place.unlock(to: 0o700)
                try place.forEachChild { inside, _ in
                    if inside.isLong { try lift(inside.path) } else { try remove(&inside) }
                }
            }
            try place.failing("cannot remove") { try posix(type == S_IFDIR ? rmdir($0) : unlink($0)) }
        }
        // To the top, to be removed there after the rest.
        func lift(_ place: FilePath) throws {
            let top = path.appending(".deep.\(lifted)", toLastComponent: true)
            lifted += 1
            try failing("cannot remove", at: path) {
                try posix(place.withPlatformString { place in top.withPlatformString { rename(place, $0) } })
            }
            left.append(top)
        }
        while let top = left.popLast() {
            var place = try TreePlace(top)
            try remove(&place)
        }
    }

    /// Bytes; with a name after it, which may have 255, it is still one that the kernel takes.
    package static let longestPath = Int(PATH_MAX) - 512

    /// Nil if there is nothing.
    static func inode(of path: FilePath) -> UInt64? {
        var status = stat()
        return lstat(path.string, &status) == 0 ? UInt64(status.st_ino) : nil
    }

    /// A copy of files and directories. Links are left out: they would show whoever reads the copy what they lead to. All files
    /// have one time: make would take what was copied first for older than what it was made of.
    ///
    /// - Parameters:
    ///   - limit: the bytes that a file may have; a larger one is left out.
    ///   - leaveOut: is told what is left out, and what it is.
    package static func copyTree(
        _ source: FilePath, to target: FilePath, filesUpTo limit: Int = .max, leaveOut: (FilePath, stat) -> Void = { _, _ in }
    ) throws {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let times = [now, now]
        func copy(_ place: inout TreePlace, _ other: inout TreePlace) throws {
            guard let status = place.status else { return }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                try other.failing("cannot create directory") {
                    if mkdir($0, 0o755) != 0 && errno != EEXIST { throw Errno(rawValue: errno) }
                }
                try place.forEachChild { inside, name in try other.at(name) { try copy(&inside, &$0) } }
            case S_IFREG where status.st_size <= limit:
                let bytes = try place.failing("cannot read") { name in
                    let file = try opened(name, O_RDONLY | O_NOFOLLOW)
                    return try file.closeAfter { try read(file) }
                }
                try other.failing("cannot write") { name in
                    let file = try opened(name, O_WRONLY | O_CREAT | O_TRUNC)
                    try file.closeAfter {
                        _ = try file.writeAll(bytes)
                        if futimens(file.rawValue, times) != 0 { throw Errno(rawValue: errno) }
                    }
                }
            default: leaveOut(place.path, status)
            }
        }
        if isDirectory(source) { try createDirectories(target) }
        var place = try TreePlace(source), other = try TreePlace(target)
        try copy(&place, &other)
    }

    /// What is in a directory, sorted by name, whatever bytes that has; empty if there is no such directory.
    package static func children(_ path: FilePath) throws -> [FilePath] {
        var found: [(name: String, path: FilePath)] = [], place = try TreePlace(path)
        try place.forEachChild { inside, name in found.append((String(cString: name), inside.path)) }
        return found.sorted { $0.name < $1.name }.map(\.path)
    }

    /// The names in a directory, sorted; empty if there is no such directory.
    package static func list(_ path: FilePath) throws -> [String] {
        var names: [String] = [], place = try TreePlace(path)
        try place.forEachChild { names.append(String(cString: $1)) }
        return names.sorted()
    }

    /// Whether there is no room, or next to none, for a file where `path` is.
    package static func isFull(_ path: FilePath) -> Bool {
        var status = statvfs()
        guard statvfs(path.string, &status) == 0 else { return false }
        return status.f_bavail * status.f_frsize < 64 << 10 || status.f_files > 0 && status.f_favail == 0
    }

    package static func exists(_ path: FilePath) -> Bool { type(of: path) != nil }
    package static func isDirectory(_ path: FilePath) -> Bool {
        var status = stat()
        return path.withPlatformString { stat($0, &status) } == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The file type bits of what is at `path` itself, links not followed.
    package static func type(of path: FilePath) -> mode_t? {
        var status = stat()
        return path.withPlatformString { lstat($0, &status) } == 0 ? status.st_mode & S_IFMT : nil
    }

    /// The absolute form of a path that was given relative to the working directory.
    package static func absolute(_ path: FilePath) -> FilePath {
        if path.isAbsolute { return path.lexicallyNormalized() }
        let here = getcwd(nil, 0)
        defer { free(here) }
        return FilePath(here.map { String(cString: $0) } ?? "/").pushing(path).lexicallyNormalized()
    }

    /// Runs a system call and says, if it fails, what could not be done, to which file and why.
    package static func failing<T>(_ what: String, at path: FilePath, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let code as Errno {
            let status: ExitStatus =
                switch code {
                case .noSpace, .diskQuotaExceeded, .ioError, .tooManyOpenFiles: .tryAgain
                case .permissionDenied, .readOnlyFileSystem, .notPermitted: .badConfiguration
                default: .badInput
                }
            throw AutonError(status, "\(what): \(code)", at: path.string)
        }
    }

    private static func opened(_ name: UnsafePointer<CChar>, _ flags: Int32) throws -> FileDescriptor {
        let file = open(name, flags | O_CLOEXEC, 0o644)
        if file < 0 { throw Errno(rawValue: errno) }
        return FileDescriptor(rawValue: file)
    }

    private static func posix(_ result: Int32) throws {
        if result != 0 { throw Errno(rawValue: errno) }
    }
}

extension FilePath {
    package func appending(_ text: String, toLastComponent: Bool) -> FilePath {
        FilePath(string + text)
    }
}
