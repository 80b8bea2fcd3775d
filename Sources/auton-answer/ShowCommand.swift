import ArgumentParser
import AutonCommand
import AutonKit

struct ShowCommand: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Print what is new in an open request; of the oldest, if no conversation is named.")

    @OptionGroup var options: DeskOptions
    @Flag(help: "The whole conversation, with system prompt and tools.") var all = false
    @Argument var conversation: String?

    func run() async throws {
        try await stage {
            let page = RequestPage(try options.openDesk().open(conversation))
            show(all ? page.everything : page.news)
            return .done
        }
    }
}
