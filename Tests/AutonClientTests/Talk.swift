import AutonKit
import AutonSettings
import Synchronization
import SystemPackage
import TestSupport

@testable import AutonClient
@testable import AutonModel

/// A client that talks to a fake model, and what it reports.
struct Talk {
    static let key = "sk-test-0123456789"

    let transport: HTTPTransport
    private let lines: Lines
    var reports: [String] { lines.all.withLock { $0 } }

    private final class Lines: Sendable { let all = Mutex<[String]>([]) }

    init(
        _ url: String, meter: (any Meter)? = nil, backoff: SharedBackoff? = nil,
        _ change: (inout Settings.Model) -> Void = { _ in }
    ) throws {
        var settings = Settings.Model()
        settings.name = "claude-fake-1"
        settings.baseURL = url
        change(&settings)
        let lines = Lines()
        self.lines = lines
        transport = try HTTPTransport(settings, key: apiKey(Self.key), meter: meter, backoff: backoff) { line in
            lines.all.withLock { $0.append(line) }
        }
    }

    func ask(_ text: String = "hi", turn: Int = 1, conversation: String = "boot-001.1") async throws -> MessagesResponse {
        let tool = Tool(name: "list", description: "List.", inputSchema: ["type": "object"])
        let request = MessagesRequest(
            model: transport.model, maxTokens: 1000, system: "You build.", tools: [tool], messages: [.user(text)])
        return try await transport.respond(to: request, at: Turn(conversation: conversation, number: turn))
    }
}

/// What the environment has for a key.
func apiKey(_ text: String?) throws -> APIKey? { try APIKey.find(Settings()) { $0 == "ANTHROPIC_API_KEY" ? text : nil } }

/// Remembers what it is told.
final class Ledger: Meter {
    private let told = Mutex<[String]>([])
    /// Reservations granted before it throws.
    private let room: Int

    init(room: Int = .max) { self.room = room }

    var entries: [String] { told.withLock { $0 } }

    func reserve(_ request: MessagesRequest, body bytes: Int, at turn: Turn) throws {
        try told.withLock { told in
            if told.count(where: { $0.hasPrefix("reserve") }) == room { throw AutonError(.budget, "nothing is left") }
            told.append("reserve \(turn.number)")
        }
    }
    func release(_ turn: Turn) { told.withLock { $0.append("release \(turn.number)") } }
    func abandon(_ turn: Turn) { told.withLock { $0.append("abandon \(turn.number)") } }
}
