import AutonAgents
import AutonKit
import AutonModel
import Synchronization
import TestSupport
import Testing

@Suite struct AgentLoopTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Says what it was called with; fails if told to.
    private struct Echo: AgentTool {
        let definition = Tool("echo", "Say it.", ["text": ["type": "string"], "fail": ["type": "boolean"]], optional: ["fail"])
        func call(_ input: JSONValue) -> ToolOutput {
            ToolOutput(text: input["text"]?.string ?? "", isError: input["fail"] == true)
        }
    }

    private struct Finish: AgentTool {
        let definition = Tool("finish", "End.", ["summary": ["type": "string", "minLength": 1]])
        func call(_ input: JSONValue) -> ToolOutput { input["summary"] == "too early" ? .error("not yet") : .ok("done") }
    }

    private struct Broken: AgentTool {
        let definition = Tool("broken", "Fails.", [:])
        func call(_ input: JSONValue) throws -> ToolOutput { throw AutonError(.tryAgain, "the disk is full") }
    }

    private func run(_ replies: [MessagesResponse], turns: Int = 20) async throws -> (
        ending: AgentEnding, news: [[String]], asked: Int
    ) {
        let transport = ScriptedTransport(replies)
        let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: transport) { _ in }
        let loop = AgentLoop(conversation: conversation, tools: [Echo(), Broken()], closing: Finish(), maxTurns: turns)
        let ending = try await loop.run(task: "Do it.")
        return (ending, transport.news, transport.requests.count)
    }

    private func echo(_ text: String, fail: Bool = false) -> (name: String, input: JSONValue) {
        ("echo", fail ? ["text": .string(text), "fail": true] : ["text": .string(text)])
    }
    private let finish: (name: String, input: JSONValue) = ("finish", ["summary": "s"])

    @Test func callsAreDoneInOrderUntilItFinishes() async throws {
        let run = try await self.run([reply(echo("a"), echo("b")), reply(echo("c")), reply(finish)])
        #expect(run.ending == .finished(["summary": "s"]))
        #expect(run.news == [["a", "b"], ["c"]])
    }

    @Test func finishMayComeWithItsLastCalls() async throws {
        #expect(try await run([reply(echo("a"), finish, echo("never"))]).ending == .finished(["summary": "s"]))
    }

    /// What counted as no end when it was recorded, by rules that have changed since, is none in the replay.
    @Test func anEndThatWasSentBackIsSentBackAgain() async throws {
        try Files.createDirectories(directory["runs/01/transcript"])
        var recording = try Transcript(reading: directory["runs/01/transcript/boot-001.1.jsonl"])
        try recording.append(opening())
        try recording.append(request: [.user("Do it.")])
        try recording.append(reply(finish))
        let sentBack = ToolResult(toolUseID: reply(finish).toolUses[0].id, content: "not so", isError: true)
        try recording.append(request: [ChatMessage(role: .user, content: [.toolResult(sentBack)])])
        try recording.append(reply(("finish", ["summary": "then"])))
        let transport = try ReplayTransport(run: "01", runs: directory["runs"], strict: true) { _ in }
        let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: transport) { _ in }
        let loop = AgentLoop(conversation: conversation, tools: [Echo()], closing: Finish(), maxTurns: 9)
        #expect(try await loop.run(task: "Do it.") == .finished(["summary": "then"]))
    }

    @Test func inputThatIsNoJSONGoesBack() async throws {
        let long = "{\"text\": \"" + String(repeating: "a", count: 200)
        let run = try await self.run([reply(("echo", "{\"text\": ")), reply(("finish", .string(long))), reply(finish)])
        #expect(
            run.news == [
                ["ERROR Not called: the input is not valid JSON: {\"text\": "],
                ["ERROR Not called: the input is not valid JSON: \(long.prefix(100)) … \(long.suffix(100))"],
            ])
        #expect(run.ending == .finished(["summary": "s"]))
    }

    @Test func schemaErrorsGoBack() async throws {
        let run = try await self.run([reply(("echo", ["txt": "a"])), reply(("finish", ["summary": ""])), reply(finish)])
        #expect(
            run.news == [["ERROR Not called: text is missing; txt is not known."], ["ERROR Not called: summary is too short."]])
        #expect(run.ending == .finished(["summary": "s"]))
    }

    /// Counts how often it was called with what.
    private final class Counter: AgentTool {
        let definition = Tool("count", "Count it.", ["text": ["type": "string"]])
        let times = Mutex<[String: Int]>([:])
        func call(_ input: JSONValue) -> ToolOutput {
            times.withLock { $0[input["text"]?.string ?? "", default: 0] += 1 }
            return .error("counted")
        }
    }

    /// The third call's result is not in the record, as if a kill had come before it.
    @Test func whatIsThereIsNotMadeAgain() async throws {
        let counter = Counter(), replies = ["a", "b", "c"].map { reply(("count", ["text": .string($0)])) }
        func made(resumed: Int) async throws -> [Int] {
            let made = Mutex<[Int]>([]), transport = ScriptedTransport(replies)
            let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: transport) {
                Issue.record("\($0)")
            }
            var loop = AgentLoop(conversation: conversation, tools: [counter], closing: Finish(), maxTurns: 3)
            loop.resumed = resumed
            loop.made = { turn in made.withLock { $0.append(turn) } }
            _ = try await loop.run(task: "Do it.")
            return made.withLock { $0 }
        }
        #expect(try await made(resumed: 0) == [1, 2, 3])
        #expect(try await made(resumed: 2) == [3])
        #expect(counter.times.withLock { $0 } == ["a": 1, "b": 1, "c": 2])
        #expect(try await made(resumed: 0) == [1, 2, 3])
        #expect(counter.times.withLock { $0 } == ["a": 2, "b": 2, "c": 3])
    }

    @Test func anUnknownToolIsAnsweredWithThoseThereAre() async throws {
        let run = try await self.run([reply(("format", [:])), reply(finish)])
        #expect(run.news == [["ERROR There is no tool format. The tools are echo, broken, finish."]])
    }

    @Test func finishDoesNotCountAfterAFailedCall() async throws {
        let run = try await self.run([reply(echo("a", fail: true), echo("b"), finish), reply(finish)])
        #expect(
            run.news == [
                ["ERROR a", "b", "ERROR Not counted: an earlier call of the same reply failed. Look at its result first."]
            ])
        #expect(run.asked == 2)
    }

    @Test func theClosingToolMayRefuse() async throws {
        let run = try await self.run([reply(("finish", ["summary": "too early"])), reply(finish)])
        #expect(run.news == [["ERROR not yet"]])
        #expect(run.ending == .finished(["summary": "s"]))
    }

    @Test func goingRoundInCirclesIsWarnedOfOnce() async throws {
        let run = try await self.run(Array(repeating: reply(echo("a")), count: 9))
        let warning = "You have made the same call of echo three times with the same result. Try something else, or call finish."
        #expect(run.news == [["a"], ["a"], ["a", warning]])
        #expect(run.ending == .gaveUp(Surrender("going round in circles with echo")))
    }

    @Test func aSecondCircleIsNotWarnedOf() async throws {
        let run = try await self.run(["a", "a", "a", "b", "b", "b", "c"].map { reply(echo($0)) })
        #expect(run.ending == .gaveUp(Surrender("going round in circles with echo")))
        #expect(run.asked == 6)
    }

    @Test func otherInputOrOutputIsNoCircle() async throws {
        let replies = ["a", "b", "a", "b"].map { reply(echo($0)) } + [reply(finish)]
        let run = try await self.run(replies)
        #expect(run.news == [["a"], ["b"], ["a"], ["b"]])
        #expect(run.ending == .finished(["summary": "s"]))
    }

    @Test func theTurnLimitIsAnnouncedAndKept() async throws {
        let run = try await self.run((1...9).map { reply(echo("\($0)")) }, turns: 7)
        #expect(run.news == [["1"], ["2", "5 turns left."], ["3"], ["4"], ["5"], ["6", "1 turn left."]])
        #expect(run.ending == .gaveUp(Surrender("the limit of 7 turns is reached")))
        #expect(run.asked == 7)
    }

    @Test(arguments: [0, -1])
    func withoutTurnsNothingIsAsked(_ turns: Int) async throws {
        let run = try await self.run([reply(finish)], turns: turns)
        #expect(run.ending == .gaveUp(Surrender("the limit of \(turns) turns is reached")))
        #expect(run.asked == 0)
    }

    @Test func aRefusalEndsIt() async throws {
        let run = try await self.run([reply(echo("a")), reply(text: "I will not.", stopReason: "refusal")])
        #expect(run.ending == .gaveUp(Surrender("the model refused", lastWords: "I will not.")))
    }

    @Test func silenceIsAnsweredAndThenEnds() async throws {
        let silent = reply(text: "Hm.", stopReason: "end_turn")
        let run = try await self.run([silent, reply(echo("a")), silent, silent])
        let note = "Your reply called no tool, so nothing was done. Go on with the task; when it is done, call finish."
        #expect(run.news == [[note], ["a"], [note]])
        #expect(run.ending == .gaveUp(Surrender("three turns without a tool call", lastWords: "Hm.")))
    }

    /// On one line, as a program complains of it, and no more than a line's worth.
    @Test func aSurrenderIsDescribed() {
        #expect(Surrender("why").description == "why")
        #expect(Surrender("why", lastWords: "The header\n is missing.\n").description == "why: The header is missing.")
        #expect(Surrender("why", lastWords: String(repeating: "a", count: 201)).description.count == 205)
    }

    @Test func aCallThatWasCutOffIsNotMade() async throws {
        let cut = "ERROR Your reply was cut off here, so this call was not made. Make it again, in smaller parts."
        let run = try await self.run([reply(echo("a"), finish, stopReason: "max_tokens"), reply(finish)])
        #expect(run.news == [["a", cut]])
        #expect(run.asked == 2)
    }

    /// Thinking aloud up to the limit is no silence.
    @Test(arguments: ["max_tokens", "model_context_window_exceeded"])
    func aReplyThatWasCutOffGoesOn(_ reason: String) async throws {
        let long = reply(text: "First,", stopReason: reason)
        let run = try await self.run([long, long, long, long, reply(finish)])
        #expect(run.news == (1...4).map { _ in ["Your reply was cut off at its token limit. Go on from where it stopped."] })
        #expect(run.ending == .finished(["summary": "s"]))
    }

    /// Nothing can be cleared of a conversation without large results: the attempt ends, the program does not, unless no attempt
    /// can begin otherwise.
    @Test(arguments: [1, 2])
    func aConversationThatIsTooLong(fromTurn: Int) async throws {
        struct Full: Transport {
            let model = "full"
            var fromTurn: Int
            func respond(to request: MessagesRequest, at turn: Turn) throws -> MessagesResponse {
                if turn.number < fromTurn { return reply(("echo", ["text": "a"])) }
                throw ContextWindowExceeded("prompt is too long")
            }
        }
        let conversation = try Conversation(opening(), at: directory["t.jsonl"], transport: Full(fromTurn: fromTurn)) { _ in }
        let loop = AgentLoop(conversation: conversation, tools: [Echo()], closing: Finish(), maxTurns: 3)
        if fromTurn == 1 {
            let error = await failure { try await loop.run(task: "Do it.") }
            #expect(error?.status == .badConfiguration)
            #expect(error?.description == "the first request is too long for the model: prompt is too long: boot-001.1")
        } else {
            #expect(
                try await loop.run(task: "Do it.")
                    == .gaveUp(Surrender("the conversation is too long for the model: prompt is too long")))
        }
    }

    @Test func whatTheModelCanDoNothingAboutEndsTheProgram() async throws {
        #expect(await failure { try await run([reply(("broken", [:]))]) }?.status == .tryAgain)
    }

    /// A killed run does its calls again and asks nothing again.
    @Test func aKilledRunGoesOn() async throws {
        #expect(await failure { try await self.run([reply(echo("a"))]) }?.status == .unavailable)
        let run = try await self.run([reply(echo("never asked")), reply(finish)])
        #expect(run.asked == 1)
        #expect(run.ending == .finished(["summary": "s"]))
    }
}
