import AutonKit
import AutonModel
import Testing

@testable import auton_answer

@Suite struct RequestPageTests {
    private let first = RequestPage(turn: Turn(conversation: "mm-001.1", number: 1), request: request(), age: 3)

    private let second = RequestPage(
        turn: Turn(conversation: "mm-001.1", number: 2),
        request: request([
            .user("Build it."),
            ChatMessage(
                role: .assistant,
                content: [
                    .text("I look."), .toolUse(ToolUse(id: "a", name: "list", input: [:])),
                    .toolUse(ToolUse(id: "b", name: "write", input: ["path": "mm/a.c", "content": "int a;\nint b;\n"])),
                    .toolUse(ToolUse(id: "c", name: "shell", input: ["script": "make\n"])),
                    .toolUse(ToolUse(id: "d", name: "gone", input: ["z": "1", "y": [1, 2]])),
                ]),
            ChatMessage(
                role: .user,
                content: [
                    .toolResult(ToolResult(toolUseID: "a", content: "mm/a.c  14", isError: false)),
                    .toolResult(ToolResult(toolUseID: "b", content: "", isError: false)),
                    .toolResult(ToolResult(toolUseID: "c", content: "a.c:1: error: \"x\"\\n\n", isError: true)),
                    .toolResult(ToolResult(toolUseID: "q", content: "?", isError: false)),
                    .text("5 turns left."), .other(["type": "image", "n": 1]),
                ]),
        ]), age: 200)

    @Test func theFirstTurnShowsAll() {
        #expect(
            first.news == """
                ══ mm-001.1, turn 1 (asked 3 s ago; at most 1000 tokens a reply)
                ── system prompt
                You are a developer.
                ── tools (values without a name fill the inputs in this order; those in [brackets] may be left out)
                list [path:string]
                    List files.
                write path:string content:string
                    Write a whole file.
                    path: Relative to the root.
                edit path:string old:string new:string
                    Replace a passage.
                shell script:string [seconds:integer(1…300)]
                    Run a script.
                test [suites:[string]] [bench:boolean]
                    Boot suites.
                review verdict:approve|changes-requested summary:string comments:[{line?: integer, path: string, text: string}]
                    File the review.
                ── task
                Build it.

                """)
    }

    private static let results = """
        ── 1 list
        mm/a.c  14
        ── 2 write mm/a.c content=(14 bytes)
        (nothing)
        ── 3 shell make  [ERROR]
        a.c:1: error: "x"\\n
        ── result of the unknown call q
        ?
        ── note
        5 turns left.
        ── image
        {"n":1,"type":"image"}

        """

    @Test func laterTurnsShowWhatIsNewUnderTheCallsNumbers() {
        #expect(second.news == "══ mm-001.1, turn 2 (asked 3 min ago; at most 1000 tokens a reply)\n" + Self.results)
    }

    @Test func everythingTellsTheWholeConversation() {
        let told = """
            ── task
            Build it.
            ── you wrote
            I look.
            ── you called: 1 list
            ── you called: 2 write mm/a.c content=(14 bytes)
            ── you called: 3 shell make
            ── you called: 4 gone y=[1,2] z=1

            """
        #expect(second.everything.hasSuffix(told + Self.results))
        #expect(second.everything.contains("── system prompt\nYou are a developer.\n── tools"))
    }

    @Test func aTerminalGetsNoControlCharacters() {
        #expect("a\tb\n\u{1b}[2J\u{7f}\u{9b}é".defanged == "a\tb\n^[[2J^??é")
    }
}
