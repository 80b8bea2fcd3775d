import AutonKit
import AutonModel
import AutonSettings
import CCurl
import Synchronization

/// Asks a server that speaks the Messages API, over libcurl.
package final class HTTPTransport: Transport {
    package let model: String
    private let settings: Settings.Model
    private let meter: (any Meter)?
    private let backoff: SharedBackoff?
    private let report: @Sendable (String) -> Void
    private let policy: RetryPolicy
    private let redaction: Redaction
    private let encoder: Mutex<RequestEncoder>
    /// One, whose connection is used again: a conversation asks one thing at a time.
    private let curl: Mutex<CurlHandle>

    /// - Parameters:
    ///   - settings: of the role that asks; `uri` is not looked at.
    ///   - key: nil only where none is wanted.
    ///   - meter: asked before each try, told how it went; nil if nothing is counted.
    ///   - backoff: shared with the other processes that ask this server; nil if there are none.
    ///   - report: told of retries and of longer waits.
    /// - Throws: `AutonError` with `.badConfiguration` if the settings cannot be meant, `.unavailable` without libcurl.
    package init(
        _ settings: Settings.Model, key: APIKey?, meter: (any Meter)?, backoff: SharedBackoff?,
        report: @escaping @Sendable (String) -> Void
    ) throws {
        guard auton_curl_is_there() else { throw Tools.missing("libcurl.so.4") }
        let endpoint = try Endpoint(settings.baseURL, allowsPlainHTTP: settings.allowPlainHTTP)
        self.settings = settings
        self.meter = meter
        self.backoff = backoff
        self.report = report
        model = settings.name
        policy = RetryPolicy(retries: settings.retries, cap: settings.retryAfterMax, url: endpoint.url, model: settings.name)
        redaction = Redaction(key: key?.secret)
        encoder = Mutex(RequestEncoder(settings))
        curl = Mutex(try CurlHandle(endpoint, headers: RequestHeaders.lines(settings, key), settings: settings))
    }

    /// Loads libcurl while something else is done: its libraries take as long to start as a checkout.
    package static func warmUp() {
        Task.detached { CurlHandle.warmUp() }
    }

    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        let size = try encoder.withLock { try $0.body(for: request).count }
        var retries = 0
        while true {
            try await backoff?.wait(cap: settings.retryAfterMax, report: report)
            try meter?.reserve(request, body: size, at: turn)
            do throws(Failure) {
                let response = try await exchange(request, at: turn)
                encoder.withLock { $0.answered(by: response.model) }
                return redaction(response)
            } catch {
                let seconds = try account(for: error, at: turn, retries: retries)
                retries += 1
                try await Task.sleep(for: .seconds(seconds))
            }
        }
    }

    /// Does what a failure asks for beside waiting.
    ///
    /// - Returns: the seconds to wait before the request is sent again.
    /// - Throws: what it comes to if it is not.
    private func account(for failure: Failure, at turn: Turn, retries: Int) throws -> Double {
        let failure = redaction(failure)
        if failure.mayBeBilled { try meter?.abandon(turn) } else { try meter?.release(turn) }
        switch policy.decide(failure, made: retries, jitter: .random(in: 0...1)) {
        case .end(let error): throw error
        case .again(let seconds):
            // Whoever told the others waits with them, when the next request is to go out.
            if failure.concernsAll, share(seconds, failure.message) { return 0 }
            report("\(turn.conversation) turn \(turn.number): \(failure.message); asking again in \(shortly(seconds))")
            return seconds
        }
    }

    /// Has all processes wait; false if they cannot be told, which is no reason to end.
    private func share(_ seconds: Double, _ why: String) -> Bool {
        guard let backoff else { return false }
        do {
            try backoff.extend(by: seconds, cap: settings.retryAfterMax, why: why)
            return true
        } catch {
            report("other processes cannot be told to wait: \(error)")
            return false
        }
    }

    /// One try. The body lives in there only: kept any longer, it would have to be copied before it can grow.
    private func exchange(_ request: MessagesRequest, at turn: Turn) async throws(Failure) -> MessagesResponse {
        let outcome = await OwnThread.run { [self] in
            curl.withLock { curl in
                let exchange = Exchange(settings, turn: turn)
                let result = Result { () throws(Failure) in
                    guard let body = try? encoder.withLock({ try $0.body(for: request) }) else {
                        throw Failure(.hopeless, "the request cannot be written")
                    }
                    return try exchange.result(of: curl.post(body, to: exchange), size: body.count)
                }
                return (result: result, secondsUntilReset: exchange.head.secondsUntilReset)
            }
        }
        guard let outcome else { throw Failure(.unreachable, "no thread can be started") }
        if let seconds = outcome.secondsUntilReset { _ = share(seconds, "the server's rate limit is used up") }
        return try outcome.result.get()
    }
}
