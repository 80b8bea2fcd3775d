import AutonKit
import Glibc
import SystemPackage

/// Text from files and from standard input, which can be read once.
final class StandardInput {
    private var isRead = false
    /// How long a pipe may take to show that there is something in it.
    private static let patience: Int32 = 5000

    /// `-` is standard input, `@FILE` a file, `@@…` a text that begins with @, all else itself.
    func resolve(_ text: String) throws -> String {
        if text == "-" { return try read() }
        guard text.hasPrefix("@") else { return text }
        if text.hasPrefix("@@") { return String(text.dropFirst()) }
        let path = FilePath(String(text.dropFirst()))
        return try Self.text(try Files.read(path), at: path.string)
    }

    func read() throws -> String {
        if isRead { throw AutonError(.usage, "asked for twice", at: "standard input") }
        isRead = true
        var bytes: [UInt8] = []
        try Files.failing("cannot read", at: "standard input") {
            try withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 1) { buffer in
                while case let count = try FileDescriptor.standardInput.read(into: buffer), count > 0 {
                    bytes += buffer[..<count]
                }
            }
        }
        return try Self.text(bytes, at: "standard input")
    }

    /// What was redirected or piped to us, if anything was: a program that calls us may have left us a standard input
    /// that is empty, or open with nothing ever to come.
    func readIfOffered() throws -> String? {
        var status = stat()
        guard !isRead, isatty(0) == 0, fstat(0, &status) == 0 else { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return try read()
        case S_IFIFO, S_IFSOCK:
            var descriptor = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
            guard poll(&descriptor, 1, Self.patience) > 0, descriptor.revents & Int16(POLLIN) != 0 else { return nil }
            let text = try read()
            return text.isEmpty ? nil : text
        default: return nil
        }
    }

    private static func text(_ bytes: [UInt8], at place: String) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw AutonError(.badInput, "not UTF-8 text", at: place)
        }
        return text
    }
}
