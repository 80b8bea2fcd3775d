import AutonKit
import AutonSettings
import TestSupport
import Testing

@testable import AutonClient
@testable import AutonModel

/// What goes wrong on the way is asked for again, or ends with a clear sentence; nothing half-received gets out.
@Suite struct FaultTests {
    private static let soon: JSONValue = ["retry-after-ms": "1"]

    /// Every way for an answer to go wrong once, streamed and not, with what the meter is told.
    private static let passing: [(step: JSONValue, outcome: String, report: String)] = [
        (["status": 429, "headers": soon], "release", "429 rate_limit_error: "),
        (["status": 429], "release", "429 rate_limit_error: "),
        (["status": 408], "release", "408 "), (["status": 409], "release", "409 "),
        (["status": 500, "headers": soon], "release", "500 api_error: "), (["status": 503, "headers": soon], "release", "503 "),
        (["status": 529, "headers": soon], "release", "529 overloaded_error: "),
        (["status": 400, "headers": ["x-should-retry": "true", "retry-after-ms": "1"]], "release", "400 "),
        (["fault": "reset"], "abandon", "the answer was cut off: "), (["fault": "reset", "after": 0], "abandon", ""),
        (["fault": "cut"], "abandon", "the answer was cut off: "), (["fault": "end"], "abandon", ""),
        (["fault": "refuse"], "abandon", ""),
        (["fault": "stall"], "abandon", ""), (["fault": "stall-pings"], "abandon", ""),
        (["fault": "stall", "after": 0], "abandon", ""),
    ]

    /// All at once, since each waits for half a second.
    @Test(arguments: [true, false])
    func aPassingFaultCostsOneTry(stream: Bool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (step, outcome, report) in Self.passing {
                group.addTask { try await check(step, stream: stream, outcome: outcome, report: report) }
            }
            try await group.waitForAll()
        }
    }

    private func check(_ step: JSONValue, stream: Bool, outcome: String, report: String) async throws {
        let call: JSONValue = ["type": "tool_use", "id": "t", "name": "list", "input": ["path": "."]]
        let answer: JSONValue = ["content": [["type": "text", "text": "I list."], call], "stop_reason": "tool_use"]
        guard case .object(var faulty) = step else { return }
        if faulty["status"] == nil { faulty["response"] = answer }
        let fake = try FakeModel(script: [.object(faulty), ["response": answer]])
        let ledger = Ledger()
        let talk = try Talk(fake.url, meter: ledger) {
            $0.stream = stream
            if step["fault"]?.string?.hasPrefix("stall") == true { ($0.idleSeconds, $0.requestSeconds) = (3, 3) }
        }
        let response = try await talk.ask()
        #expect(response.content == [.text("I list."), .toolUse(ToolUse(id: "t", name: "list", input: ["path": "."]))])
        #expect(try await fake.log(lines: 2).count == 2)
        #expect(ledger.entries == ["reserve 1", "\(outcome) 1", "reserve 1"], "\(step)")
        #expect(talk.reports.count == 1 && talk.reports[0].hasPrefix("boot-001.1 turn 1: \(report)"), "\(talk.reports)")
    }

    /// libcurl would send a request again by itself, unmetered, when a connection that it had kept dies under it.
    @Test(arguments: [("refuse", true), ("refuse", false), ("reset", true)])
    func aKeptConnectionThatDiesCostsATryThatIsCounted(_ fault: String, _ stream: Bool) async throws {
        let fake = try FakeModel(script: [[:], ["fault": .string(fault), "after": 0], [:]])
        let ledger = Ledger()
        let talk = try Talk(fake.url, meter: ledger) { $0.stream = stream }
        for turn in 1...2 { #expect(try await talk.ask(turn: turn).text == "done") }
        let log = try await fake.log(lines: 3)
        #expect(log.count == 3 && log[0]["connection"] == log[1]["connection"] && log[1]["connection"] != log[2]["connection"])
        #expect(ledger.entries == ["reserve 1", "reserve 2", "abandon 2", "reserve 2"])
    }

    @Test func anErrorEventIsAskedAgain() async throws {
        for error in [nil, ["type": "api_error", "message": "Internal"], ["type": "news", "message": "?"]] as [JSONValue?] {
            var step: [String: JSONValue] = ["fault": "error-event"]
            step["error"] = error
            let fake = try FakeModel(script: [.object(step)])
            let ledger = Ledger()
            #expect(try await Talk(fake.url, meter: ledger).ask().text == "done")
            #expect(ledger.entries == ["reserve 1", "abandon 1", "reserve 1"])
        }
    }

    @Test func anErrorEventThatNoTrialMendsEnds() async throws {
        let error: JSONValue = ["type": "billing_error", "message": "No credit."]
        let fake = try FakeModel(script: [["fault": "error-event", "error": error, "repeat": 0]])
        let end = await failure { try await Talk(fake.url).ask() }
        #expect(end?.status == .budget)
        #expect(try await fake.log().count == 1)
    }

    @Test(
        arguments: [
            (
                ["status": 400, "error": ["type": "invalid_request_error", "message": "max_tokens: too large"]], .badConfiguration
            ),
            (["status": 401], .badConfiguration), (["status": 402], .budget), (["status": 403], .badConfiguration),
            (["status": 404], .badConfiguration),
            (["status": 429, "error": ["type": "rate_limit_error", "message": "You have reached your spend limit."]], .budget),
            (["status": 529, "headers": ["x-should-retry": "false"]], .tryAgain),
            (["status": 302, "headers": ["location": "https://elsewhere.example/"]], .badConfiguration),
            (["raw": "<html>Sign in</html>", "content_type": "text/html"], .unavailable),
            (["raw": #"{"object":"chat.completion","choices":[]}"#], .unavailable),
        ] as [(JSONValue, AutonKit.ExitStatus)])
    func whatNoTrialMendsEndsAtOnce(step: JSONValue, status: AutonKit.ExitStatus) async throws {
        guard case .object(var step) = step else { return }
        step["repeat"] = 0
        let fake = try FakeModel(script: [.object(step)])
        let ledger = Ledger()
        let error = await failure { try await Talk(fake.url, meter: ledger).ask() }
        #expect(error?.status == status, "\(error?.description ?? "no error")")
        #expect(error?.location == fake.url + "/v1/messages")
        #expect(try await fake.log().count == 1)
        #expect(ledger.entries == ["reserve 1", step["raw"] == nil ? "release 1" : "abandon 1"])
    }

    @Test(arguments: [true, false])
    func aPromptThatIsTooLongIsSaidToBe(stream: Bool) async throws {
        let error: JSONValue = ["type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"]
        let fake = try FakeModel(script: [["status": 400, "error": error], ["status": 413]])
        let talk = try Talk(fake.url) { $0.stream = stream }
        for _ in 1...2 { await #expect(throws: ContextWindowExceeded.self) { try await talk.ask() } }
    }

    @Test func itIsTriedSoOftenAndNoMore() async throws {
        let fake = try FakeModel(script: [["status": 529, "headers": Self.soon, "repeat": 0]])
        let talk = try Talk(fake.url) { $0.retries = 3 }
        let error = await failure { try await talk.ask() }
        #expect(error?.status == .tryAgain)
        #expect(error?.what.hasPrefix("no answer after 4 tries: 529 overloaded_error: ") == true)
        #expect(try await fake.log().count == 4)
        #expect(talk.reports.count == 3)
    }

    @Test func nobodyThereIsNotPaid() async throws {
        let ledger = Ledger()
        // Bound by nobody: port 1 needs a privilege and has no service.
        let error = await failure { try await Talk("http://127.0.0.1:1", meter: ledger) { $0.retries = 1 }.ask() }
        #expect(error?.status == .tryAgain)
        #expect(ledger.entries == ["reserve 1", "release 1", "reserve 1", "release 1"])
    }

    /// A server that is waited for in vain before the request is out, here in the middle of TLS, can bill nothing.
    @Test func whatDidNotGetOutIsNotPaid() async throws {
        let fake = try FakeModel()
        let ledger = Ledger()
        let talk = try Talk(fake.url.replacing("http:", with: "https:"), meter: ledger) {
            ($0.idleSeconds, $0.retries) = (0.5, 0)
        }
        let error = await failure { try await talk.ask() }
        #expect(error?.status == .tryAgain && error?.what == "no answer: nothing of an answer came for 0.5 s")
        #expect(ledger.entries == ["reserve 1", "release 1"])
    }

    @Test func whatIsNotReservedIsNotAsked() async throws {
        let fake = try FakeModel(script: [["status": 529, "headers": Self.soon]])
        let error = await failure { try await Talk(fake.url, meter: Ledger(room: 1)).ask() }
        #expect(error?.status == .budget)
        #expect(try await fake.log().count == 1)
    }

    @Test func theServersWishIsHeard() async throws {
        let fake = try FakeModel(script: [["status": 429, "headers": ["retry-after": "1"]]])
        _ = try await Talk(fake.url).ask()
        let log = try await fake.log()
        guard case .number(let ended) = log[0]["ended_ms"], case .number(let arrived) = log[1]["arrived_ms"] else {
            Issue.record("no times in the log")
            return
        }
        #expect(arrived - ended > 950)
    }
}
