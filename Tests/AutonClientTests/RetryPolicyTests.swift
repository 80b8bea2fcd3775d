import AutonKit
import AutonModel
import Testing

@testable import AutonClient

@Suite struct RetryPolicyTests {
    private let policy = RetryPolicy(retries: 3, cap: 60, url: "https://a.example/v1/messages", model: "claude-x")

    private func refusal(_ status: Int, _ message: String = "message", type: String? = nil) -> Failure {
        Failure(.refused(status: status, type: type), message)
    }

    /// Seconds to wait, or how it ends.
    private func decide(_ failure: Failure, made: Int = 0, jitter: Double = 0) -> (wait: Double?, status: AutonKit.ExitStatus?) {
        switch policy.decide(failure, made: made, jitter: jitter) {
        case .again(let seconds): (seconds, nil)
        case .end(let error): (nil, (error as? AutonError)?.status)
        }
    }

    @Test func waitsDoubleUpToEightSecondsLessUpToAQuarter() {
        let long = RetryPolicy(retries: 1000, cap: 60, url: "", model: "")
        func wait(_ made: Int, _ jitter: Double) -> Double? {
            if case .again(let seconds) = long.decide(refusal(500), made: made, jitter: jitter) { seconds } else { nil }
        }
        #expect([0, 1, 2, 3, 4, 5, 100, 999].map { wait($0, 0) } == [0.5, 1, 2, 4, 8, 8, 8, 8])
        #expect([0, 4].map { wait($0, 1) } == [0.375, 6])
    }

    @Test(arguments: [408, 409, 429, 500, 502, 503, 504, 529, 599])
    func theseAreTriedAgain(status: Int) {
        #expect(decide(refusal(status)).wait == 0.5)
        #expect(decide(refusal(status), made: 2).wait == 2)
        #expect(decide(refusal(status), made: 3).status == .tryAgain)
    }

    @Test(arguments: [
        (301, AutonKit.ExitStatus.badConfiguration), (400, .badConfiguration), (401, .badConfiguration), (402, .budget),
        (403, .badConfiguration), (404, .badConfiguration), (405, .badConfiguration), (422, .badConfiguration),
    ])
    func theseEndAtOnce(status: Int, exit: AutonKit.ExitStatus) {
        #expect(decide(refusal(status)).status == exit)
    }

    @Test func whatDidNotGetThroughIsTriedAgain() {
        #expect(decide(Failure(.unreachable, "refused")).wait == 0.5)
        #expect(decide(Failure(.interrupted, "cut")).wait == 0.5)
        #expect(decide(Failure(.hopeless, "certificate has expired")).status == .unavailable)
        #expect(decide(Failure(.unreachable, "refused"), made: 3).status == .tryAgain)
    }

    @Test func theServersWishIsHeardWithinBounds() {
        var failure = refusal(429)
        failure.retryAfter = 7
        #expect(decide(failure, jitter: 1).wait == 7)
        failure.retryAfter = 0
        #expect(decide(failure).wait == 0)
        failure.retryAfter = 3600
        #expect(decide(failure).wait == 60)
    }

    @Test func theServersWordOverridesTheCode() {
        var failure = refusal(400)
        failure.shouldRetry = true
        #expect(decide(failure).wait == 0.5)
        failure = refusal(500)
        failure.shouldRetry = false
        #expect(decide(failure).status == .tryAgain)
    }

    @Test(arguments: [
        (429, "rate_limit_error", "Your organization has reached its monthly spend limit"),
        (429, "rate_limit_error", "You have reached your specified API usage limits"),
        (429, "billing_error", "x"), (402, nil, "x"), (200, "billing_error", "x"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API"),
    ])
    func whereMoneyIsAtAnEndNoWaitingHelps(status: Int, type: String?, message: String) {
        #expect(decide(refusal(status, message, type: type)).status == .budget)
        // Whatever the server says of retries.
        var failure = refusal(status, message, type: type)
        failure.shouldRetry = true
        #expect(decide(failure).status == .budget)
    }

    /// Nobody waits a day for money.
    @Test func aSpendLimitThatEndsTomorrowEndsAtOnce() {
        var failure = refusal(429, "You have reached your specified API usage limits", type: "rate_limit_error")
        failure.retryAfter = 86_400
        #expect(decide(failure).status == .budget)
    }

    @Test func anOrdinaryLimitIsNoSpendLimit() {
        #expect(decide(refusal(429, "This request would exceed your rate limit of 50 requests per minute")).wait == 0.5)
        var failure = refusal(429, "usage limit of tokens per minute")
        failure.retryAfter = 2
        #expect(decide(failure).wait == 2)
    }

    @Test(arguments: [
        (400, "prompt is too long: 213462 tokens > 200000 maximum"),
        (400, "input length and `max_tokens` exceed context limit: 199000 + 32000 > 200000"),
        (400, "This model's maximum context length is 8192 tokens."),
        (400, "the request exceeds the available context size. try increasing the context size"), (413, "Request too large"),
    ])
    func aPromptThatIsTooLongIsSaidToBe(status: Int, message: String) {
        guard case .end(let error) = policy.decide(refusal(status, message), made: 0, jitter: 0) else {
            Issue.record("it is tried again")
            return
        }
        #expect((error as? ContextWindowExceeded)?.description == message)
    }

    @Test func errorsSayWhatToDo() {
        func text(_ failure: Failure, made: Int = 0) -> String {
            if case .end(let error) = policy.decide(failure, made: made, jitter: 0) { "\(error)" } else { "" }
        }
        let place = "https://a.example/v1/messages"
        #expect(
            text(refusal(401, "401 authentication_error: invalid x-api-key"))
                == "the server does not take the key (401 authentication_error: invalid x-api-key): \(place)")
        #expect(
            text(refusal(404, "404 not_found_error: model: claude-x"))
                == "the server has no model claude-x, or the base URL is wrong (404 not_found_error: model: claude-x): \(place)")
        #expect(
            text(refusal(529, "529 overloaded_error: Overloaded"), made: 3)
                == "no answer after 4 tries: 529 overloaded_error: Overloaded: \(place)")
    }
}
