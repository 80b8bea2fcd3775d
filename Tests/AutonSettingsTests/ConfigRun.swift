import AutonKit
import SystemPackage
import TestSupport

/// The real auton-config in a directory of its own.
struct ConfigRun {
    let directory: TemporaryDirectory

    init(_ file: String? = nil) throws {
        directory = try TemporaryDirectory()
        if let file { try directory.write("auton.toml", file) }
    }

    func config(_ arguments: String..., environment: [String: String] = [:]) async throws -> Outcome {
        try await run("auton-config", arguments, environment: environment)
    }

    func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
        try await Program.run(program, arguments, in: directory.path, environment: environment)
    }
}
