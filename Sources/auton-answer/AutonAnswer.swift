import ArgumentParser
import AutonCommand

@main
struct AutonAnswer: SuiteCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-answer",
        abstract: "The desk of whoever plays the language model behind file:DIR.",
        discussion: manual,
        subcommands: [
            ListCommand.self, ShowCommand.self, CallCommand.self, TextCommand.self, StagedCommand.self, DropCommand.self,
            SendCommand.self, WaitCommand.self,
        ])

    // Also before the command's name: auton-answer --desk DIR list.
    @OptionGroup var options: DeskOptions
}
