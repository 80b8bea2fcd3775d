import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel
import FoundationEssentials
import SystemPackage

struct ListCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Print the open requests, oldest first: conversation, turn, age, bytes that are new.")

    @OptionGroup var options: DeskOptions
    @Flag(help: "One JSON object a line.") var json = false

    /// A line of `--json`: a request, or a file that is none and why.
    struct Line: Encodable {
        var conversation: String?
        var turn: Int?
        var ageSeconds: Int?
        var newBytes: Int?
        var maxTokens: Int?
        var file: String?
        var problem: String?
    }

    private static let encoder = {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }()

    func run() async throws {
        try await stage {
            let desk = try options.openDesk()
            let (open, misnamed) = try desk.scan()
            var unreadable = misnamed
            for entry in open {
                do {
                    let request = try OpenRequest(entry)
                    try report(
                        Line(
                            conversation: entry.turn.conversation, turn: entry.turn.number, ageSeconds: entry.age,
                            newBytes: request.newBytes, maxTokens: request.request.maxTokens),
                        "\(entry.turn.conversation)  turn \(entry.turn.number)  \(elapsed(entry.age))  \(request.newBytes) bytes new"
                    )
                } catch let error as AutonError {
                    unreadable.append(Desk.Unreadable(path: entry.path, reason: error.what))
                }
            }
            for file in unreadable {
                let name = (file.path.lastComponent?.string ?? "").defanged
                try report(Line(file: name, problem: file.reason), "\(name)  \(file.reason)")
            }
            if !Files.isDirectory(desk.directory) { complain("no such desk yet: \(desk.directory)") }
            return .done
        }
    }

    private func report(_ line: Line, _ text: String) throws {
        if json { print(String(decoding: try Self.encoder.encode(line), as: UTF8.self)) } else { show(text) }
    }
}
