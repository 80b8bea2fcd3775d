import AutonKit
import AutonModel
import TestSupport
import Testing

@Suite struct FaultTests {
    /// What a client sees of each fault, after the third event: curl's exit status, the last event, what the log says.
    @Test(
        arguments: [
            ("reset", 56, "ping"), ("cut", 18, "ping"), ("end", 0, "ping"), ("stall", 28, "ping"), ("stall-pings", 28, "ping"),
            ("error-event", 0, "error"), ("refuse", 52, nil),
        ] as [(String, Int32, String?)])
    func streamed(fault: String, exit: Int32, last: String?) async throws {
        let model = try FakeModel(script: [["fault": .string(fault), "after": 3]])
        let reply = try await model.post(
            asking(user("hi"), streamed: true), options: "--max-time", fault.hasPrefix("stall") ? "2" : "20")
        #expect(reply.exit == exit)
        let types = try reply.events.map { $0["type"]?.string }
        #expect(types.last ?? nil == last)
        let most = fault == "stall-pings" ? 40 : fault == "error-event" ? 4 : 3
        #expect(types.count <= most)
        if fault == "stall-pings" { #expect(types.count > 4, "pings go on") }
        let log = try await model.log(lines: 1)
        #expect(log.map { $0["ended"] } == [.string(fault)])
        #expect(log.map { $0["billed"] } == [.bool(fault != "refuse")])
        // The script is over.
        #expect(try await assembled(model.post(asking(user("hi"), streamed: true)).events).text == "done")
    }

    /// A body that is not streamed ends in the middle, or is an HTTP error.
    @Test(arguments: [("reset", 56, 200), ("cut", 18, 200), ("end", 0, 200), ("error-event", 0, 529)] as [(String, Int32, Int)])
    func whole(fault: String, exit: Int32, status: Int) async throws {
        let model = try FakeModel(script: [["fault": .string(fault), "error": ["type": "overloaded_error", "message": "busy"]]])
        let reply = try await model.post(asking(user("hi")))
        #expect(reply.exit == exit)
        #expect(reply.status == status)
        #expect((try? reply.json)?["error"] == (fault == "error-event" ? ["type": "overloaded_error", "message": "busy"] : nil))
    }

    /// Characters of two bytes, that no delta divides.
    private static let wide = "." + String(repeating: "é", count: 100)

    /// Steps come in order, each for those that it is for and as often as it says.
    @Test func script() async throws {
        let model = try FakeModel(script: [
            ["for": "other", "status": 401],
            ["status": 429, "headers": ["retry-after": "7"], "repeat": 2],
            ["raw": "<html>", "content_type": "text/html", "status": 502],
            [
                "extra": "event: news\ndata: {\"type\":\"news\"}\n\n: comment\n\n",
                "response": ["content": [["type": "hologram", "size": 1]]],
            ],
            ["response": ["content": [text(Self.wide)]]],
            ["response": ["content": [["type": "tool_use", "id": "a", "name": "list", "input_text": "{\"path\":"]]]],
            ["text_bytes": 50_000, "repeat": 0],
        ])
        let ask = asking(user("hi"), streamed: true)
        #expect(try await model.post(ask, options: "-i").body.contains("\r\nretry-after: 7\r\n"))
        #expect(try await model.post(ask).status == 429)
        #expect(try await model.post(asking(user("another")), options: "-s").status == 401)
        #expect(try await model.post(ask).body == "<html>")
        let strange = try await model.post(ask).events
        #expect(strange.count { $0["type"] == "news" } == strange.count { $0["type"] != "news" })
        #expect(try assembled(strange).content == [.other(["type": "hologram", "size": 1])])
        #expect(try await assembled(model.post(ask).events).text == Self.wide)
        let malformed = try await model.post(ask).events.compactMap { $0["delta"]?["partial_json"]?.string }
        #expect(malformed.joined() == "{\"path\":")
        for _ in 1...2 { #expect(try await assembled(model.post(ask).events).text.utf8.count == 50_000) }
        #expect(try await model.log().map { $0["step"] } == [2, 2, 1, 3, 4, 5, 6, 7, 7])
    }

    @Test func rate() async throws {
        let model = try FakeModel("--rate", "2/3600")
        let replies = [
            try await model.post(asking(user("hi")), options: "-i"), try await model.post(asking(user("hi")), options: "-i"),
            try await model.post(asking(user("hi")), options: "-i"),
        ]
        #expect(replies.map(\.status) == [200, 200, 429])
        let left = ["1", "0", "0"]
        for (reply, left) in zip(replies, left) {
            #expect(reply.body.contains("\r\nanthropic-ratelimit-requests-remaining: \(left)\r\n"))
        }
        #expect(replies.map { $0.body.contains("\r\nretry-after: 3") } == [false, false, true])
    }

    /// A client that goes away in mid-stream has it all billed, as the provider might.
    @Test func clientGone() async throws {
        let model = try FakeModel(script: [["text_bytes": 100_000, "pace": 20]], "--prices", "4/20")
        let body = try String(decoding: CompactJSON.encode(asking(user("hi"), streamed: true)), as: UTF8.self)
        let script = "curl -sN -H '\(FakeModel.version[0])' --data-binary @- \(model.url)/v1/messages | head -c 1000"
        #expect(try await Program.run("sh", ["-c", script], input: body).output.utf8.count == 1000)
        let log = try await model.log(lines: 1)
        #expect(log.map { $0["ended"] } == ["gone"])
        #expect(log.first?["usage"]?["output_tokens"] == 1000, "max_tokens is the most that is billed")
        let cost = JSONValue.number((4 * 6 + 20 * 1000) / 1e6)
        #expect(log.first?["total_usd"] == cost)
    }

    /// Requests that wait to be asked for, that come in chunks, that share a connection; replies of a size of their own.
    @Test func bodies() async throws {
        let model = try FakeModel(script: [["text_bytes": 50_000, "repeat": 3], ["chunk": 3]])
        let large = asking(user(.string(String(repeating: "x", count: 200 << 10))))
        let asked = try await model.post(
            large, options: "-H", "Expect: 100-continue", "--expect100-timeout", "50", "--max-time", "20")
        #expect(asked.status == 200)
        #expect(
            try await model.post(large, options: "-H", "Transfer-Encoding: chunked", model.url + "/v1/messages").status == 200)
        let log = try await model.log()
        #expect(log.map { $0["connection"] } == [1, 2, 2])
        #expect(log.map { $0["body_digest"] } == Array(repeating: log[0]["body_digest"], count: 3))
        #expect(try model.body(2) == CompactJSON.encode(large))
        let chunks = try await model.post(asking(user("hi")), options: "--raw").body.split(separator: "\r\n")
        #expect(chunks.prefix(4) == ["3", "{\"i", "3", "d\":"])
    }

    /// One connection that hangs does not keep another from its answer.
    @Test func severalAtOnce() async throws {
        let model = try FakeModel(script: [["for": "hang", "fault": "stall"]])
        async let hanging = model.post(asking(user("hang")))
        while (try? model.body(1)) == nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(try await model.post(asking(user("hi"))).status == 200)
        #expect(try await model.log().map { $0["sequence"] } == [2])
        model.stop()
        // Its first bytes may be on the way.
        #expect([18, 52].contains(try await hanging.exit))
    }

    @Test func itsOwnCommandLine() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("script", #"[{"fault":"reset"},{"falt":"reset"}]"#)
        let outcome = try await Program.run("fake-model", ["--script", "script"], in: directory.path)
        #expect(outcome == Outcome(status: 65, errors: "fake-model: unknown field falt: script, step 2\n"))
        // It ends with whoever holds its standard input.
        #expect(try await Program.run("sh", ["-c", "true | fake-model"]).status == 0)
    }
}
