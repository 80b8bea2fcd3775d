import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel

struct CallCommand: SuiteCommand {
    static let configuration = CommandConfiguration(commandName: "call", abstract: "Stage a call of a tool for the next reply.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String
    @Argument var tool: String
    @Argument(help: "NAME=VALUE or VALUE, which may be @FILE, or - for standard input.") var arg: [String] = []

    func run() async throws {
        try await stage {
            let (open, staging) = try options.open(conversation)
            let call = try CallArguments(for: try open.tool(named: tool), input: StandardInput()).call(arg)
            try staging.add(call)
            try staging.show(for: open)
            return .done
        }
    }
}

struct TextCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "text", abstract: "Stage the text of the next reply, in place of what was staged.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String
    @Argument(help: "The text, @FILE, or - for standard input.") var text = "-"

    func run() async throws {
        try await stage {
            let (open, staging) = try options.open(conversation)
            try staging.setText(try StandardInput().resolve(text))
            try staging.show(for: open)
            return .done
        }
    }
}

struct StagedCommand: SuiteCommand {
    static let configuration = CommandConfiguration(commandName: "staged", abstract: "Print what is staged for the next reply.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String

    func run() async throws {
        try await stage {
            let (open, staging) = try options.open(conversation)
            try staging.show(for: open)
            return .done
        }
    }
}

struct DropCommand: SuiteCommand {
    static let configuration = CommandConfiguration(commandName: "drop", abstract: "Take back what is staged.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String
    @Argument(help: "A call's number in `staged`, or 0 for the text; everything if left out.") var number: Int?

    func run() async throws {
        try await stage {
            let (open, staging) = try options.open(conversation)
            switch number {
            case nil: try staging.removeAll()
            case 0: try staging.setText(nil)
            case let number?: try staging.drop(number)
            }
            try staging.show(for: open)
            return .done
        }
    }
}

extension Staging {
    /// Prints what is staged, numbered, and how large a reply it makes.
    func show(for open: OpenRequest) throws {
        let text = try text() ?? "", calls = try calls()
        if !text.isEmpty { AutonCommand.show("0 text (\(text.utf8.count) bytes)") }
        for (index, call) in calls.enumerated() {
            AutonCommand.show("\(index + 1) \(call.short(for: try? open.tool(named: call.name)))")
        }
        let tokens = try Reply(text: text, calls: calls, model: Reply.model).tokens()
        print(
            "staged for \(open.turn.conversation) turn \(open.turn.number): about \(tokens) of \(open.request.maxTokens) tokens")
    }
}
