import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
import Glibc

struct SendCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "send", abstract: "File the staged reply, wait for the conversation's next request and show it.",
        discussion:
            "The reply is the text, then the staged calls, then those given here. If it is refused, what was staged stays.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String
    @Option(parsing: .unconditional, help: "The text, in place of the staged one: itself, @FILE, or - for standard input.")
    var text: String?
    @Option(
        name: .customLong("call"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("One more call, its words quoted as for a shell.", valueName: "tool arg…"))
    var calls: [String] = []
    @Option(help: ArgumentHelp("How long to wait; 0 does not.", valueName: "seconds")) var wait = 540
    @Flag(help: "Do not wait.") var noWait = false
    @Flag(help: "Wait for a request of any conversation.") var any = false
    @Option(help: "The name of the model that replies.") var model = Reply.model

    func validate() throws { try check(seconds: wait) }

    func run() async throws {
        try await stage {
            let desk = try options.openDesk()
            let (open, staging) = try options.open(conversation)
            let reply = try reply(to: open, staging)
            let response = try reply.response(to: open)
            try desk.file(response, to: open, through: staging)
            print(
                "filed \(open.turn.conversation) turn \(open.turn.number): \(reply.text.isEmpty ? "" : "text, ")"
                    + "\(reply.calls.count) call\(reply.calls.count == 1 ? "" : "s"), about \(response.usage.outputTokens) tokens"
            )
            fflush(nil)
            if noWait || wait == 0 { return .done }
            // What a killed run left behind is older, and not what we wait for.
            let next = try desk.wait(seconds: wait, unless: { !any && desk.isOver(conversation) }) {
                $0.turn.conversation == conversation ? $0.written >= open.entry.written : any
            }
            if next == nil && !any && desk.isOver(conversation) {
                print("\(conversation) is over")
                return .done
            }
            guard let next else { throw try desk.silence(any ? nil : conversation, wait, after: "filed; ") }
            if next.entry == open.entry { complain("the reply was set aside as malformed; the same turn is open again") }
            show(RequestPage(next).news)
            return .done
        }
    }

    private func reply(to open: OpenRequest, _ staging: Staging) throws -> Reply {
        let input = StandardInput()
        let more = try calls.map { line in
            let words = try shellWords(line)
            guard let tool = words.first else { throw AutonError(.usage, "names no tool", at: "--call") }
            return try CallArguments(for: try open.tool(named: tool), input: input).call(Array(words.dropFirst()))
        }
        let text = try self.text.map(input.resolve) ?? staging.text() ?? ""
        return Reply(text: text, calls: try staging.calls() + more, model: model)
    }
}
