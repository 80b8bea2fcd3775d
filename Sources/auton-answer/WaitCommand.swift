import ArgumentParser
import AutonCommand
import AutonKit
import AutonModel

struct WaitCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait for an open request, of any conversation if none is named, and show it.")

    @OptionGroup var options: DeskOptions
    @Argument var conversation: String?
    @Option(help: ArgumentHelp("How long to wait.", valueName: "seconds")) var wait = 540

    func validate() throws { try check(seconds: wait) }

    func run() async throws {
        try await stage {
            let desk = try options.openDesk()
            let next = try desk.wait(seconds: wait) { conversation == nil || $0.turn.conversation == conversation }
            guard let next else { throw try desk.silence(conversation, wait, after: "") }
            show(RequestPage(next).news)
            return .done
        }
    }
}

/// Refuses times that make no sense.
func check(seconds: Int) throws {
    guard seconds >= 0, seconds <= 1_000_000 else { throw ValidationError("--wait takes 0 to 1000000 seconds") }
}
