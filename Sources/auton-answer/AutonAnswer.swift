import ArgumentParser
import AutonCommand

@main
struct AutonAnswer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-answer",
        abstract: "The desk of whoever plays the language model behind file:DIR.",
        discussion: exitStatusHelp,
        subcommands: [
            ListCommand.self, ShowCommand.self, WaitCommand.self,
        ])

    // Also before the command's name: auton-answer --desk DIR list.
    @OptionGroup var options: DeskOptions
}
