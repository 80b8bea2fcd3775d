/// Everything about the server and how to talk to it. The program fills it in from its configuration.
package struct HTTPSettings: Sendable {
    /// How the key is shown: `Authorization: Bearer KEY`, `x-api-key: KEY`, or not at all.
    package enum Authentication: String, Sendable, CaseIterable {
        case bearer
        case xAPIKey = "x-api-key"
        case none
    }

    /// The request's `thinking.type`.
    package enum Thinking: String, Sendable, CaseIterable { case adaptive, disabled }

    /// Where the API is, without `/v1/messages`; a `/v1` or a slash at its end is no mistake.
    package var baseURL = "https://api.anthropic.com"
    /// What a request's `model` says.
    package var model: String
    package var authentication = Authentication.bearer
    /// Held in memory only: it is in the request's header and nowhere else.
    package var key: String?
    /// The header `anthropic-version`.
    package var version = "2026-10-21"
    /// Sent as they are, after our own.
    package var headers: [(name: String, value: String)] = []

    /// Ask for a stream of events. A server that answers with one JSON object is understood all the same.
    package var stream = true
    /// Mark prompt cache breakpoints.
    package var caching = true
    /// Left out of the request if nil, as is `effort` (`output_config.effort`).
    package var thinking: Thinking?
    package var effort: String?
    /// Have the server hold the model to the tools' schemas, where they say all that an object may have.
    package var strictTools = false

    /// Seconds until there must be a connection.
    package var connectSeconds = 10.0
    /// Seconds without an event of the answer; pings do not count.
    package var idleSeconds = 120.0
    /// Seconds for the whole of an answer that is not streamed.
    package var requestSeconds = 600.0
    /// How often a request that failed is sent again.
    package var retries = 10
    /// The most seconds to wait because a server or another process says so.
    package var retryAfterCap = 120.0
    /// Plain http to hosts other than this one: whoever is on the way reads the key.
    package var allowsPlainHTTP = false
    /// A PEM file of the authorities to trust, in place of the system's.
    package var authorities: String?

    package init(model: String) { self.model = model }
}
