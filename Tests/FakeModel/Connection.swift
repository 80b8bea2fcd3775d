import Glibc

/// The client has hung up, or says what is no HTTP.
struct ClientGone: Error {}

/// One accepted connection: bytes in, bytes out, and every way to end it.
final class Connection {
    /// Counted from 1.
    let number: Int
    private let file: Int32
    private let clock: Clock
    private var isOpen = true
    /// POLLRDHUP of poll(2), which Glibc's module does not show.
    private static let hangUp: Int16 = 0x2000
    /// What has been received and not been read yet.
    private var buffer: [UInt8] = []
    private var position = 0
    private var chunk = [UInt8](repeating: 0, count: 65536)

    init(_ file: Int32, number: Int, clock: Clock) {
        self.file = file
        self.number = number
        self.clock = clock
        // What is written is to leave at once, in the pieces in which it is written.
        set(IPPROTO_TCP, TCP_NODELAY, Int32(1))
    }

    deinit { close() }

    /// Waits for the first byte of the next request.
    ///
    /// - Returns: when it came; nil if the client closed the connection instead.
    func nextArrival() -> Double? {
        if position == buffer.count && !fill() { return nil }
        return clock.now
    }

    /// Bytes up to `delimiter`, which is taken and left out.
    func read(through delimiter: String, limit: Int = 65536) throws -> [UInt8] {
        let end = Array(delimiter.utf8)
        var searched = position
        while true {
            while searched + end.count <= buffer.count {
                if buffer[searched..<searched + end.count].elementsEqual(end) {
                    defer { position = searched + end.count }
                    return Array(buffer[position..<searched])
                }
                searched += 1
            }
            let behind = searched - position
            guard behind < limit, fill() else { throw ClientGone() }
            searched = position + behind
        }
    }

    func read(count: Int) throws -> [UInt8] {
        while buffer.count - position < count {
            guard fill() else { throw ClientGone() }
        }
        defer { position += count }
        return Array(buffer[position..<position + count])
    }

    /// Receives some more; false if there will be no more.
    private func fill() -> Bool {
        if position > 0 {
            buffer.removeFirst(position)
            position = 0
        }
        let count = chunk.withUnsafeMutableBytes { recv(file, $0.baseAddress!, $0.count, 0) }
        buffer += chunk.prefix(max(0, count))
        return count > 0
    }

    func write(_ bytes: some Collection<UInt8>) throws {
        try write(Array(bytes))
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(file, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw ClientGone() }
            sent += count
        }
    }

    /// Waits, for ever if no time is given; gives up when the client hangs up meanwhile.
    func pause(milliseconds: Int? = nil) throws {
        var descriptor = pollfd(fd: file, events: Self.hangUp, revents: 0)
        if poll(&descriptor, 1, milliseconds.map(Int32.init) ?? -1) > 0 { throw ClientGone() }
    }

    /// Closes in order: the client reads what was sent, then the end.
    func close() {
        if isOpen { Glibc.close(file) }
        isOpen = false
    }

    /// Breaks the connection off with an RST.
    func reset() {
        set(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        close()
    }

    private func set<T: BitwiseCopyable>(_ level: some BinaryInteger, _ option: Int32, _ value: T) {
        var value = value
        setsockopt(file, Int32(level), option, &value, socklen_t(MemoryLayout<T>.size))
    }
}

/// Milliseconds since the server's start, on a clock that never goes back.
struct Clock: Sendable {
    private let start = ContinuousClock.now

    var now: Double {
        let elapsed = start.duration(to: .now).components
        return Double(elapsed.seconds) * 1e3 + Double(elapsed.attoseconds) / 1e15
    }
}
