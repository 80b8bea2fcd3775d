import FoundationEssentials
import Glibc
import SystemPackage

/// QEMU's monitor: QMP on a socket that QEMU made in the boot's directory.
///
/// Who answers is as hostile as the kernel: what comes back is text of bounded length within a bounded time, or nil. It
/// waits for answers, so it is for a thread of one's own.
final class Monitor {
    /// The socket's name in the directory.
    static let name = "monitor"
    /// What QEMU is to be told for it, which runs in that directory: a whole path may be longer than an address can be.
    static let argument = "unix:\(name),server=on,wait=off"

    private static let longest = 64 << 10

    private let socket: FileDescriptor
    private let deadline: ContinuousClock.Instant
    private var received: [UInt8] = []

    /// Nil if nobody is there.
    init?(in directory: FilePath, until deadline: ContinuousClock.Instant) {
        // By the directory's descriptor: the whole path may be longer than an address can be.
        guard let opened = try? FileDescriptor.open(directory, .readOnly, options: [.directory, .closeOnExec]) else { return nil }
        defer { try? opened.close() }
        let path = "/proc/self/fd/\(opened.rawValue)/\(Self.name)"
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        let number = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { return nil }
        socket = FileDescriptor(rawValue: number)
        self.deadline = deadline
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0, execute("qmp_capabilities") != nil else { return nil }
    }

    deinit { try? socket.close() }

    /// QEMU's process.
    var process: pid_t {
        // A struct ucred: process, user, group.
        var peer: (pid_t, uid_t, gid_t) = (0, 0, 0)
        var size = socklen_t(MemoryLayout.size(ofValue: peer))
        return getsockopt(socket.rawValue, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.0 : 0
    }

    /// What the monitor for people prints; nil if it does not answer.
    func print(_ command: String) -> String? {
        execute("human-monitor-command", #","arguments":{"command-line":"\#(command)"}"#)
    }

    /// The answer, empty if it is no text; nil if there is none, or it is an error.
    func execute(_ command: String, _ arguments: String = "") -> String? {
        let request = Array(#"{"execute":"\#(command)"\#(arguments)}"#.utf8) + [UInt8(ascii: "\n")]
        guard (try? socket.writeAll(request)) != nil else { return nil }
        while let line = line() {
            // The greeting and events are neither.
            guard let answer = try? JSONDecoder().decode([String: Value].self, from: Data(line)) else { return nil }
            if let value = answer["return"] { return value.text }
            if answer["error"] != nil { return nil }
        }
        return nil
    }

    private enum Value: Decodable {
        case text(String), other

        init(from decoder: any Decoder) throws {
            if let status = try? decoder.container(keyedBy: Key.self).decode(String.self, forKey: .status) {
                self = .text(status)
            } else {
                self = (try? decoder.singleValueContainer().decode(String.self)).map { .text($0) } ?? .other
            }
        }

        private enum Key: CodingKey { case status }

        var text: String { if case .text(let text) = self { text } else { "" } }
    }

    private func line() -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                defer { received.removeFirst(end + 1) }
                return Array(received[..<end])
            }
            let left = ContinuousClock.now.duration(to: deadline).seconds
            var wait = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
            guard received.count < Self.longest, left > 0, poll(&wait, 1, Int32(left * 1000) + 1) > 0,
                case let count = recv(socket.rawValue, &chunk, chunk.count, 0), count > 0
            else { return nil }
            received += chunk[..<count]
        }
    }
}
