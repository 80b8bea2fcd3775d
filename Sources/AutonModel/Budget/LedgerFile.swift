import AutonKit
import Glibc
import SystemPackage

/// The ledger's file, open while its lock is held: read to its last whole line, written only there.
struct LedgerFile {
    /// Which file it is: another one begins anew.
    struct Identity: Equatable {
        var device: UInt
        var inode: UInt
    }

    let path: FilePath
    let identity: Identity
    private let file: FileDescriptor
    private let size: Int

    /// Opens the file for one look, and closes it after.
    static func with<T>(_ path: FilePath, writable: Bool, _ body: (LedgerFile) throws -> T) throws -> T {
        let file = try Files.failing("cannot open", at: path) {
            try FileDescriptor.open(path, writable ? .readWrite : .readOnly, options: .closeOnExec)
        }
        return try file.closeAfter { try body(LedgerFile(path, file)) }
    }

    private init(_ path: FilePath, _ file: FileDescriptor) {
        self.path = path
        self.file = file
        var status = stat()
        fstat(file.rawValue, &status)
        identity = Identity(device: UInt(status.st_dev), inode: UInt(status.st_ino))
        size = Int(status.st_size)
    }

    /// Whether the file has been cut since it was read until `place`.
    func isCut(at place: Int) -> Bool { size < place }

    /// The whole lines from `place` on; what a killed writer left of one at the end is none.
    func lines(from place: Int) throws -> ArraySlice<UInt8> {
        guard size > place else { return [] }
        return try Files.failing("cannot read", at: path) {
            let bytes = try [UInt8](unsafeUninitializedCapacity: size - place) { buffer, count in
                let memory = UnsafeMutableRawBufferPointer(buffer)
                var more = 1
                while count < memory.count && more > 0 {
                    let rest = UnsafeMutableRawBufferPointer(rebasing: memory[count...])
                    more = try file.read(fromAbsoluteOffset: Int64(place + count), into: rest)
                    count += more
                }
            }
            return bytes[..<((bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1)]
        }
    }

    /// Writes lines at `place`, the end of the last whole one; what does not get there whole, or is to be on the disk and does not get
    /// there, is taken back.
    func append(_ text: String, at place: Int, durably: Bool) throws {
        try Files.failing("cannot write", at: path) {
            if size > place { try truncate(place) }
            do {
                try file.writeAll(toAbsoluteOffset: Int64(place), text.utf8)
                if durably && fdatasync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
            } catch {
                // If that fails too, the next writer does it, or the line counts: never too little.
                try? truncate(place)
                throw error
            }
        }
        // The first line brings the file and its directory with it.
        if place == 0 && durably {
            try Files.syncDirectory(path.removingLastComponent())
            try Files.syncDirectory(path.removingLastComponent().removingLastComponent())
        }
    }

    private func truncate(_ place: Int) throws {
        if ftruncate(file.rawValue, off_t(place)) != 0 { throw Errno(rawValue: errno) }
    }
}
