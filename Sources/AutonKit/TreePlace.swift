import Glibc
import SystemPackage

/// A place in a tree that is gone through, by its name as the system has it.
///
/// It is no `FilePath`: to make one of each name is most of what a walk takes in a build without optimization.
struct TreePlace: ~Copyable {
    private static let longest = Int(PATH_MAX)
    private let text = UnsafeMutablePointer<CChar>.allocate(capacity: longest + Int(NAME_MAX) + 2)
    private var length: Int

    init(_ path: FilePath) throws {
        length = path.length
        guard length < Self.longest else { throw AutonError(.badInput, "the name is too long", at: path.string) }
        _ = path.withPlatformString { strcpy(text, $0) }
    }

    deinit { text.deallocate() }

    /// Until it changes.
    var name: UnsafePointer<CChar> { UnsafePointer(text) }
    var path: FilePath { FilePath(platformString: text) }
    /// Whether the system might not take a name after it.
    var isLong: Bool { length >= Files.longestPath }

    /// Of what is there itself, links not followed; nil if nothing is.
    var status: stat? {
        var status = stat()
        return lstat(text, &status) == 0 ? status : nil
    }
    /// Its file type bits.
    var type: mode_t? { status.map { $0.st_mode & S_IFMT } }

    /// Makes a directory of ours accessible again if it is not, to whoever asks for it.
    func unlock(to mode: mode_t) { if access(text, R_OK | W_OK | X_OK) != 0 { chmod(text, mode) } }

    /// Is at what is in it, one after another, with the name that each has there; at nothing if it is no more.
    mutating func forEachChild(_ body: (inout TreePlace, UnsafePointer<CChar>) throws -> Void) throws {
        var names: [UnsafeMutablePointer<CChar>] = []
        defer { names.forEach { free($0) } }
        try failing("cannot list") {
            guard let directory = opendir($0) else {
                if errno == ENOENT { return }
                throw Errno(rawValue: errno)
            }
            defer { closedir(directory) }
            while let entry = readdir(directory) {
                let name = UnsafeRawPointer(entry).advanced(by: Self.offsetOfName).assumingMemoryBound(to: CChar.self)
                if strcmp(name, ".") != 0, strcmp(name, "..") != 0, let copy = strdup(name) { names.append(copy) }
            }
        }
        for name in names { try at(name, { try body(&$0, name) }) }
    }

    private static let offsetOfName = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0

    /// Is at what has that name in it.
    mutating func at(_ name: UnsafePointer<CChar>, _ body: (inout TreePlace) throws -> Void) throws {
        guard length < Self.longest else { return try failing("cannot go there") { _ in throw Errno.fileNameTooLong } }
        let before = length
        defer {
            length = before
            text[before] = 0
        }
        text[length] = CChar(UInt8(ascii: "/"))
        strcpy(text + length + 1, name)
        length += 1 + strlen(name)
        try body(&self)
    }

    /// Runs a system call on it and says, if it fails, what could not be done, and where.
    func failing<T>(_ what: String, _ body: (UnsafePointer<CChar>) throws -> T) throws -> T {
        do {
            return try body(name)
        } catch let code as Errno {
            return try Files.failing(what, at: path) { throw code }
        }
    }
}
