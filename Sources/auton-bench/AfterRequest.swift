import ArgumentParser
import AutonKit
import Glibc

/// Marks a moment in a server's log, and then is the command: what the command does first there is measured from the mark.
struct AfterRequest: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Ask a server on this machine for /anchor, then exec the command.")

    @Argument(help: "http://127.0.0.1:PORT") var url: String
    @Argument(parsing: .captureForPassthrough) var command: [String]

    func run() throws {
        guard let port = url.split(separator: ":").last.flatMap({ UInt16($0) }) else {
            throw ValidationError("no port in \(url)")
        }
        try ask(port)
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        var arguments = words.map { strdup($0) } + [nil]
        execvp(words[0], &arguments)
        throw AutonError(.unavailable, "cannot run", at: words[0])
    }

    private func ask(_ port: UInt16) throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw AutonError(.unavailable, "nobody listens", at: url) }
        let request = "GET /anchor HTTP/1.1\r\nhost: anchor\r\nconnection: close\r\n\r\n"
        _ = write(socket, request, request.utf8.count)
        var answer = [UInt8](repeating: 0, count: 4096)
        while read(socket, &answer, answer.count) > 0 {}
    }
}
