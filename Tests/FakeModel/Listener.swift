import AutonKit
import Glibc

/// A listening socket on 127.0.0.1.
struct Listener {
    private let socket: Int32
    let port: UInt16

    /// - Parameter port: 0 for a free one.
    /// - Throws: `AutonError` with `.unavailable` if the port is taken.
    init(port: UInt16) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        address.sin_port = port.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = self.socket
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, size) != 0 || listen(socket, 128) != 0 || getsockname(socket, $0, &size) != 0 ? errno : 0
            }
        }
        guard result == 0 else {
            throw AutonError(.unavailable, "cannot listen: \(String(cString: strerror(result)))", at: "127.0.0.1:\(port)")
        }
        self.port = address.sin_port.bigEndian
    }

    /// Serves every connection on a thread of its own, for ever.
    func run(_ server: Server) -> Never {
        var number = 0
        while true {
            let file = accept(socket, nil, nil)
            if file < 0 { continue }
            number += 1
            let connection = Connection(file, number: number, clock: server.clock)
            detach { server.serve(connection) }
        }
    }
}

/// Runs something on a thread of its own.
func detach(_ body: @escaping () -> Void) {
    final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body)).toOpaque()
    pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, box)
    pthread_detach(thread)
}
