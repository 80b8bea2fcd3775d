import AutonKit
import Glibc
import SystemPackage

/// How a program that was run by hand ended.
package struct Outcome: Equatable, Sendable {
    package var status: Int32
    package var output: String
    package var errors: String

    package init(status: Int32, output: String = "", errors: String = "") {
        self.status = status
        self.output = output
        self.errors = errors
    }

    package var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// Runs the real programs.
package enum Program {
    /// Where the tests' own program lies, the others lie too.
    package static let directory = Tools.running.removingLastComponent()

    /// The package's own directory: prompts, schemas.
    package static let package = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()

    /// Of all tests together, so that the gate proves itself once and not for every loop.
    package static let cache = package.appending(".build/test-cache").string

    /// Runs a command line in a clean environment that has our programs in its path; killed at the time limit.
    ///
    /// - Returns: the exit status as a shell has it: 128 and the signal's number for one that was killed.
    package static func run(
        _ program: String, _ arguments: [String] = [], input: String = "", in directory: FilePath? = nil,
        environment: [String: String] = [:], timeLimit: Double = 120
    ) async throws -> Outcome {
        var variables = Command.plainEnvironment
        variables["PATH"] = "\(Self.directory):\(variables["PATH"] ?? "")"
        variables["XDG_CACHE_HOME"] = Self.cache
        variables.merge(environment) { _, new in new }
        var command = Command(program, arguments, environment: variables)
        command.input = Array(input.utf8)
        command.directory = directory
        command.timeLimit = timeLimit
        let result = try await command.run()
        let status: Int32 =
            switch result.ending {
            case .exited(let status): status
            case .signalled(let signal): 128 + signal
            case .timedOut, .exceeded: throw AutonError(.bug, "hangs: \(result.errors.text)", at: program)
            }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }
}
