import AutonKit
import AutonModel
import Glibc
import SystemPackage
import Testing

@testable import auton_answer

/// The real program against the real transport.
@Suite struct DeskTests {
    private let directory: TemporaryDirectory
    private let desk: Desk
    private let answer: Program

    init() throws {
        directory = try TemporaryDirectory()
        desk = Desk(directory: directory.path.appending("desk"))
        answer = Program(desk: desk)
    }

    /// A conversation as an agent has it: asks, takes the reply up, tells what its calls gave; returns the replies.
    private func converse(_ name: String, turns: Int) async throws -> [MessagesResponse] {
        let transport = FileTransport(directory: desk.directory, report: { _ in })
        var messages = [ChatMessage.user("Build \(name).")], replies: [MessagesResponse] = []
        for number in 1...turns {
            let turn = Turn(conversation: name, number: number)
            // The transport would block a thread of the few that there are; it takes an answer that is there at once.
            try desk.ask(turn, request(messages))
            while !desk.isAnswered(turn) { try await Task.sleep(for: .milliseconds(5)) }
            let reply = try await transport.respond(to: request(messages), at: turn)
            try transport.settle(turn, reply)
            replies.append(reply)
            messages.append(ChatMessage(role: .assistant, content: reply.content))
            messages.append(
                ChatMessage(
                    role: .user,
                    content: reply.toolUses.map {
                        .toolResult(ToolResult(toolUseID: $0.id, content: "\(name) did \($0.name)", isError: false))
                    }))
        }
        return replies
    }

    @Test func twoConversationsAtOnce() async throws {
        async let boot = converse("boot-002.1", turns: 2)
        async let memory = converse("mm-001.1", turns: 2)
        for name in ["boot-002.1", "mm-001.1"] {
            #expect(try await answer("wait", name, "--wait", "20").output.hasSuffix("── task\nBuild \(name).\n"))
        }
        #expect(try await answer("call", "boot-002.1", "write", "boot/entry.asm", input: "org 0x7c00\n").status == 0)
        #expect(try await answer("call", "mm-001.1", "shell", input: "make \"x\" \\\n| tail\n").status == 0)
        #expect(try await answer("text", "mm-001.1", input: "I build.").status == 0)
        #expect(
            try await answer("staged", "mm-001.1").output == """
                0 text (8 bytes)
                1 shell 'make "x" \\…' (18 bytes)
                staged for mm-001.1 turn 1: about 33 of 1000 tokens

                """)
        let next = try await answer("send", "mm-001.1", "--call", "list mm", "--wait", "20")
        #expect(next.status == 0)
        let page = next.output.split(separator: "\n")
        #expect(page.first == "filed mm-001.1 turn 1: text, 2 calls, about 51 tokens")
        #expect(
            page.dropFirst(2).joined(separator: "\n")
                == "── 1 shell 'make \"x\" \\…' (18 bytes)\nmm-001.1 did shell\n── 2 list path=mm\nmm-001.1 did list")

        // The other one is open all the while, and what was staged for it is untouched.
        let any = try await answer("send", "mm-001.1", "--text", "- done", "--any", "--wait", "20")
        #expect(any.output.contains("══ boot-002.1, turn 1 "))
        #expect(
            try await answer("send", "boot-002.1", "--wait", "20").output.hasSuffix(
                "── 1 write boot/entry.asm content=(11 bytes)\nboot-002.1 did write\n"))
        let over = try await answer("send", "boot-002.1", "--text", "done", "--model", "somebody", "--wait", "5")
        #expect(over.status == 75)
        #expect(over.errors == "auton-answer: filed; no further request within 5 s (still running, or over): boot-002.1\n")

        let replies = try await (boot: boot, memory: memory)
        #expect(replies.boot[0].toolUses.map(\.input) == [["path": "boot/entry.asm", "content": "org 0x7c00\n"]])
        #expect(replies.boot[1].model == "somebody")
        #expect(replies.memory[0].toolUses.map(\.input) == [["script": "make \"x\" \\\n| tail\n"], ["path": "mm"]])
        #expect(replies.memory.map(\.text) == ["I build.", "- done"])
        #expect(replies.memory.map(\.stopReason) == ["tool_use", "end_turn"])
        #expect(try Files.list(desk.directory) == [".staged"])
        #expect(try Files.list(desk.directory.appending(".staged")) == [])
    }

    @Test func aRefusedReplyLosesNothing() async throws {
        let turn = Turn(conversation: "a.1", number: 1)
        try desk.ask(turn, request(maxTokens: 60))
        #expect(try await answer("call", "a.1", "list").status == 0)
        #expect(
            try await answer("call", "a.1", "format", "c:")
                == .init(
                    status: 65,
                    errors: "auton-answer: no such tool (the tools are list, write, edit, shell, test, review): format\n"))
        #expect(
            try await answer("call", "a.1", "write", "a.c")
                == .init(
                    status: 65, errors: "auton-answer: content is missing (usage: write path:string content:string): write\n"))
        let large = try await answer("send", "a.1", "--text", "-", "--call", "list x", input: String(repeating: "x", count: 300))
        #expect(large.status == 65)
        #expect(
            large.errors.hasPrefix("auton-answer: the reply has about 115 tokens") && large.errors.contains("max_tokens is 60"))
        #expect(try await answer("staged", "a.1").output == "1 list\nstaged for a.1 turn 1: about 16 of 60 tokens\n")

        try desk.settle(turn)
        let gone = try await answer("send", "a.1", "--no-wait")
        #expect(gone.status == 75)
        #expect(gone.errors.contains("what is staged stays in \(desk.directory)/.staged/a.1.1"))
        try desk.ask(turn, request(maxTokens: 60))
        #expect(
            try await answer("send", "a.1", "--wait", "0")
                == .init(status: 0, output: "filed a.1 turn 1: 1 call, about 16 tokens\n"))
        #expect(try await answer("send", "a.1", "--text", "again").status == 65)
        #expect(try desk.answer(turn).toolUses.count == 1)
    }

    @Test func callsStagedAtOnceAreAllThere() async throws {
        try desk.ask(Turn(conversation: "a.1", number: 1))
        let answer = answer
        try await withThrowingTaskGroup(of: Int32.self) { group in
            for number in 1...8 { group.addTask { try await answer("call", "a.1", "list", "\(number)").status } }
            for try await status in group { #expect(status == 0) }
        }
        let paths = try Staging(for: try desk.open("a.1"), at: desk).calls().compactMap { $0.input["path"]?.string }
        #expect(paths.sorted() == (1...8).map(String.init))
    }

    @Test func garbageIsListedAndHarmsNobody() async throws {
        try desk.ask(Turn(conversation: "good", number: 1))
        func put(_ name: String, _ text: String) throws {
            try Files.write(desk.directory.appending(name), Array(text.utf8), sync: false)
        }
        try put("cut.1.request.json", "{\"model\":")
        try put("empty.1.request.json", "")
        try put("other.1.request.json", "[]")
        try put("deep.1.request.json", String(repeating: "[", count: 100_000))
        try put("noturn.request.json", "{}")
        try put("zero.0.request.json", "{}")
        try put("unrelated", "x")
        mkfifo(desk.directory.appending("pipe.1.request.json").string, 0o600)
        symlink("/etc/passwd", desk.directory.appending("link.1.request.json").string)
        try Files.createDirectories(desk.directory.appending("dir.1.request.json"))
        let list = try await answer("list")
        #expect(list.status == 0)
        let lines = list.output.split(separator: "\n")
        #expect(lines.first?.wholeMatch(of: /good  turn 1  \d+ s  9 bytes new/) != nil)
        #expect(
            Set(lines.dropFirst().compactMap { $0.split(separator: " ").first }) == [
                "cut.1.request.json", "empty.1.request.json", "other.1.request.json", "deep.1.request.json",
                "noturn.request.json",
                "zero.0.request.json", "pipe.1.request.json", "link.1.request.json", "dir.1.request.json",
            ])
        let json = try await answer("list", "--json").output.split(separator: "\n").map {
            try CompactJSON.decode(JSONValue.self, from: Array($0.utf8), at: "list")
        }
        #expect(json.first?["conversation"] == "good" && json.first?["turn"] == 1 && json.first?["new_bytes"] == 9)
        #expect(json.count == lines.count && json.dropFirst().allSatisfy { $0["file"] != nil && $0["problem"] != nil })
        for name in ["cut", "pipe", "link", "dir", "deep"] {
            #expect(try await answer("call", name, "list").status == 65)
        }
        #expect(try await answer("show").output.hasPrefix("══ good, turn 1"))
        #expect(try await answer("call", "../good", "list").status == 75)
        #expect(try await answer("send", "good", "--text", "x", "--no-wait").status == 0)
    }

    @Test func nothingToDoIsSaid() async throws {
        #expect(try await answer("list") == .init(status: 0, errors: "auton-answer: no such desk yet: \(desk.directory)\n"))
        #expect(try await answer("show") == .init(status: 75, errors: "auton-answer: no open request: \(desk.directory)\n"))
        #expect(try await answer("wait", "--wait", "0").errors == "auton-answer: no open request within 0 s: \(desk.directory)\n")
        try desk.ask(Turn(conversation: "a", number: 1))
        #expect(
            try await answer("send", "a")
                == .init(status: 65, errors: "auton-answer: the reply is empty: neither text nor a call: a\n"))
        #expect(
            try await answer("send", "a", "--text", "x", "--wait", "1").errors
                == "auton-answer: filed; no further request within 1 s (its answer is not taken up yet: does its program run?): a\n"
        )
        #expect(try await answer("send", "a", "--wait", "-1").status == 64)
    }

    @Test func aRequestThatAKilledRunLeftIsNotTakenForTheNext() async throws {
        try desk.ask(Turn(conversation: "a", number: 7))
        try await Task.sleep(for: .milliseconds(20))
        try desk.ask(Turn(conversation: "a", number: 1))
        #expect(try await answer("show", "a").output.hasPrefix("══ a, turn 1 "))
        let waiting = Task { [answer] in try await answer("send", "a", "--text", "x", "--wait", "2") }
        while !desk.isAnswered(Turn(conversation: "a", number: 1)) { try await Task.sleep(for: .milliseconds(5)) }
        try desk.settle(Turn(conversation: "a", number: 1))
        #expect(try await waiting.value.status == 75)
    }

    @Test func theManualTellsHow() async throws {
        let help = try await answer("--help")
        #expect(help.status == 0)
        for word in ["TWO TURNS", "EXIT STATUS", "< entry.asm", "@FILE"] { #expect(help.output.contains(word)) }
    }
}
