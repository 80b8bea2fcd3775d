import AutonKit
import AutonModel
import Synchronization

/// A model that says what a test wants, and remembers what it was asked.
package final class ScriptedTransport: Transport {
    package let model = "scripted"
    private let replies: [MessagesResponse]
    private let asked = Mutex<[MessagesRequest]>([])
    private let settledTurns = Mutex<[Turn]>([])

    package init(_ replies: [MessagesResponse]) { self.replies = replies }

    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        asked.withLock { $0.append(request) }
        guard turn.number <= replies.count else { throw AutonError(.unavailable, "the script ends before turn \(turn.number)") }
        return replies[turn.number - 1]
    }

    package func settle(_ turn: Turn, _ response: MessagesResponse) throws { settledTurns.withLock { $0.append(turn) } }

    package var requests: [MessagesRequest] { asked.withLock { $0 } }
    package var settled: [Int] { settledTurns.withLock { $0.map(\.number) } }

    /// The tool results and texts that were new in each request after the first.
    package var news: [[String]] {
        requests.dropFirst().map { request in
            request.news.flatMap(\.content).map { block in
                switch block {
                case .text(let text): text
                case .toolResult(let result): (result.isError ? "ERROR " : "") + result.content
                case .toolUse, .other: "?"
                }
            }
        }
    }
}

package func opening(_ conversation: String = "boot-001.1", system: String = "You build.", tools: [Tool] = [])
    -> Transcript.Opening
{
    Transcript.Opening(
        conversation: conversation, role: "developer", maxTokens: 1000, system: system, tools: tools,
        baseTree: String(repeating: "0", count: 40))
}
