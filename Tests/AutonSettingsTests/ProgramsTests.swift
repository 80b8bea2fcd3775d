import AutonKit
import TestSupport
import Testing

/// What the programs make of a configuration.
@Suite struct ProgramsTests {
    @Test(arguments: [
        "auton-plan --replan", "auton-agent x-1", "auton-validate x-1", "auton-merge", "auton-compose", "auton-status",
        "auton-answer list",
    ])
    func everyProgramSaysSo(_ line: String) async throws {
        let run = try ConfigRun("[team]\ndevelopers =\n")
        let words = line.split(separator: " ").map(String.init)
        let outcome = try await run.run(words[0], Array(words.dropFirst()))
        #expect(
            outcome
                == Outcome(
                    status: 78,
                    errors: "\(words[0]): auton.toml:2:13: Error while parsing key-value pair: expected value, saw '\\n'\n"))
        #expect(try run.directory.contents() == ["auton.toml": "[team]\ndevelopers =\n"])
        let help = try await run.run(words[0], ["--help"])
        #expect(help.status == 0 && help.errors == "")
        #expect(try await run.run(words[0], ["--generate-completion-script", "bash"]).status == 0)
    }
}
