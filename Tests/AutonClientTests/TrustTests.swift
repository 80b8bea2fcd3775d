import AutonKit
import AutonSettings
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import AutonClient
@testable import AutonModel

/// Whom the client talks to, and what it lets out.
@Suite(.serialized) struct TrustTests {
    @Test func aServerThatIsKnownIsTalkedTo() async throws {
        let server = try await TLSServer(.good)
        let response = try await Talk(server.url) { $0.caFile = server.authority.string }.ask()
        #expect(response.text == "over TLS")
    }

    @Test func anExpiredCertificateEndsIt() async throws {
        let server = try await TLSServer(.expired)
        let ledger = Ledger()
        let talk = try Talk(server.url, meter: ledger) {
            $0.caFile = server.authority.string
            $0.idleSeconds = 10
        }
        let error = await failure { try await talk.ask() }
        #expect(error?.status == .unavailable)
        #expect(error?.description == "SSL certificate problem: certificate has expired: \(server.url)/v1/messages")
        #expect(ledger.entries == ["reserve 1", "release 1"] && talk.reports == [])
    }

    @Test func anUnknownAuthorityOrAnotherNameEndsIt() async throws {
        let server = try await TLSServer(.good)
        let unknown = await failure { try await Talk(server.url) { ($0.idleSeconds, $0.retries) = (10, 0) }.ask() }
        #expect(unknown?.status == .unavailable && unknown?.what.hasPrefix("SSL certificate problem: ") == true)
        let elsewhere = server.url.replacing("127.0.0.1", with: "localhost")
        let misnamed = await failure {
            try await Talk(elsewhere) {
                $0.caFile = server.authority.string
                ($0.idleSeconds, $0.retries) = (10, 0)
            }.ask()
        }
        #expect(misnamed?.status == .unavailable && misnamed?.what.contains("localhost") == true, "\(misnamed?.what ?? "")")
    }

    @Test(arguments: ["/nowhere.pem", "/dev/null", "/etc/passwd"])
    func authoritiesThatAreNoneAreABadConfiguration(_ file: String) async throws {
        let server = try await TLSServer(.good)
        let error = await failure { try await Talk(server.url) { $0.caFile = file }.ask() }
        #expect(error?.status == .badConfiguration && error?.what.contains(file) == true, "\(error?.what ?? "")")
    }

    /// What a model wrote runs without network; a connection that it inherits would be one.
    @Test func childrenDoNotInheritTheConnection() async throws {
        let fake = try FakeModel()
        let talk = try Talk(fake.url)
        _ = try await talk.ask()
        let port = try #require(UInt16(fake.url.split(separator: ":").last ?? ""))
        let connections = (Int32(3)..<1024).filter { file in
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let found = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(file, $0, &size) }
            }
            return found == 0 && UInt16(bigEndian: peer.sin_port) == port
        }
        #expect(connections.count == 1)
        #expect(connections.allSatisfy { fcntl($0, F_GETFD) & FD_CLOEXEC != 0 })
    }

    /// A redirect could take the key to another host.
    @Test func aRedirectIsNotFollowed() async throws {
        let other = try FakeModel()
        let step: JSONValue = ["status": 307, "headers": ["location": .string(other.url + "/v1/messages")]]
        let fake = try FakeModel(script: [step])
        let error = await failure { try await Talk(fake.url).ask() }
        #expect(error?.status == .badConfiguration && error?.what.contains("307 redirect to \(other.url)") == true)
        #expect(try await other.log().isEmpty)
    }

    @Test func proxiesAreAskedExceptForThisMachine() async throws {
        let proxy = try FakeModel(), server = try FakeModel()
        setenv("http_proxy", proxy.url, 1)
        defer { unsetenv("http_proxy") }
        #expect(try await Talk(server.url).ask().text == "done")
        #expect(try await proxy.log().isEmpty)
        #expect(try await Talk("http://models.invalid") { $0.allowPlainHTTP = true }.ask().text == "done")
        #expect(try await proxy.log().map { $0["headers"]?["host"] } == ["models.invalid"])
    }

    /// Whatever a server makes of the key, it gets neither into answers nor into errors, reports and files.
    @Test(arguments: [true, false])
    func theKeyStaysHere(stream: Bool) async throws {
        let key = JSONValue.string(String(repeating: "x", count: 60) + Talk.key)
        let echo: JSONValue = ["type": "overloaded_error", "message": key]
        let fake = try FakeModel(
            script: [
                ["status": 529, "error": echo, "headers": ["retry-after-ms": "1"]],
                ["status": 500, "error": echo, "headers": ["retry-after-ms": "1"]],
                [
                    "response": [
                        "content": [
                            ["type": "text", "text": key], ["type": "tool_use", "id": "t", "name": "n", "input": ["k": key]],
                        ]
                    ]
                ], ["raw": key, "content_type": "text/plain"],
                ["status": 401, "error": ["type": "authentication_error", "message": key]],
            ], "--key", Talk.key)
        let directory = try TemporaryDirectory()
        let talk = try Talk(fake.url, backoff: SharedBackoff(file: directory["backoff.json"])) { $0.stream = stream }
        let response = try await talk.ask()
        let answer = String(decoding: try CompactJSON.encode(response), as: UTF8.self)
        let errors = [await failure { try await talk.ask() }, await failure { try await talk.ask() }]
        let heard = [answer] + talk.reports + errors.map { $0?.description ?? "no error" } + [try directory.read("backoff.json")]
        for text in heard { #expect(text.contains("xx[key]") && !text.contains(Talk.key)) }
        #expect(heard.count == 5)
    }
}
