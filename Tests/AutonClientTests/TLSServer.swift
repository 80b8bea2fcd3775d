import AutonKit
import Synchronization
import SystemPackage
import TestSupport

/// `openssl s_server` with a certificate of a test authority's: it sends one answer to whoever connects.
final class TLSServer: Sendable {
    enum Certificate: String { case good, expired }

    /// `https://127.0.0.1:PORT`, for which the certificate is.
    let url: String
    /// The authority, in PEM.
    let authority: FilePath
    private let directory: TemporaryDirectory
    private let isOver = Over()

    private final class Over: Sendable { let flag = Atomic(false) }

    init(_ certificate: Certificate) async throws {
        directory = try TemporaryDirectory()
        authority = directory["ca.pem"]
        var command = Command("sh", ["-euc", Self.script, "server", certificate == .good ? "1" : "-1"])
        command.directory = directory.path
        command.timeLimit = 60
        command.stop = { [isOver] in isOver.flag.load(ordering: .relaxed) }
        let server = Task { [command] in try await command.run() }
        for _ in 0..<1000 {
            if let line = try? directory.read("out").split(separator: "\n").first(where: { $0.hasPrefix("ACCEPT ") }) {
                url = "https://\(line.dropFirst(7))"
                return
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        isOver.flag.store(true, ordering: .relaxed)
        throw AutonError(.bug, "openssl does not serve: \(try await server.value.errors.text)")
    }

    deinit { isOver.flag.store(true, ordering: .relaxed) }

    private static let script = """
        key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $key -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        openssl req $key -keyout leaf.key -out leaf.csr -subj /CN=server
        echo subjectAltName=IP:127.0.0.1 >names
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days "$1" -extfile names -out leaf.pem
        answer='{"content":"over TLS"}'
        { printf 'HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %s\\r\\n\\r\\n%s' ${#answer} "$answer"; sleep 60; } |
            openssl s_server -accept 127.0.0.1:0 -cert leaf.pem -key leaf.key >out
        """
}
