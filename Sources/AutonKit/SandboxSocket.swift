import CLinux
import Glibc
import Synchronization
import SystemPackage

/// One end of a socket between us and a sandbox. Children do not inherit it.
final class SandboxSocket: Sendable {
    private let descriptor: Mutex<Int32?>
    let number: Int32

    private init(_ number: Int32) {
        self.number = number
        descriptor = Mutex(number)
    }

    deinit { close() }

    /// Our end and theirs.
    static func pair() throws -> (SandboxSocket, SandboxSocket) {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw AutonError(.tryAgain, "no socket for a sandbox: \(Errno(rawValue: errno))")
        }
        return (SandboxSocket(ends[0]), SandboxSocket(ends[1]))
    }

    func close() {
        descriptor.withLock { open in
            if let number = open { Glibc.close(number) }
            open = nil
        }
    }

    /// False if nobody is at the other end.
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count > 0 { rest = rest.dropFirst(count) } else if count == 0 || errno != EINTR { return false }
        }
        return true
    }

    /// Exactly so many bytes; nil if the end comes before, or nothing for so many seconds.
    ///
    /// - Parameter stop: asked every few milliseconds until the first byte; when it says so, the command is told to stop.
    func receive(_ count: Int, within seconds: Double, stop: (@Sendable () -> Bool)? = nil) -> [UInt8]? {
        var stop = stop
        var bytes: [UInt8] = []
        var deadline = ContinuousClock.now + .seconds(seconds)
        while bytes.count < count {
            var event = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
            let ready = poll(&event, 1, stop == nil ? 1000 : 10)
            if ready < 0 && errno != EINTR { return nil }
            if ready > 0 {
                var chunk = [UInt8](repeating: 0, count: count - bytes.count)
                let got = read(number, &chunk, chunk.count)
                if got == 0 || (got < 0 && errno != EINTR) { return nil }
                bytes += chunk.prefix(max(0, got))
                deadline = .now + .seconds(seconds)
            } else if let asked = stop, asked() {
                guard send([UInt8(AUTON_SANDBOX_STOP.rawValue)]) else { return nil }
                stop = nil
            }
            if .now > deadline { return nil }
        }
        return bytes
    }

    /// What has come, to be asked when the other end is closed.
    func receiveAll() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(number, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return Array(bytes.prefix(max(0, count)))
    }
}
