import AutonKit
import AutonSettings
import Glibc
import SystemPackage

/// Asks a command: one request JSON on its standard input, one response JSON on its standard output, for every turn.
///
/// It runs by `sh -c`, in our environment with `AUTON_CONVERSATION` and `AUTON_TURN` added, the key to the API left out.
package struct ExecTransport: Transport {
    package let model = "exec model"
    private let command: String

    package init(command: String) { self.command = command }

    /// - Throws: `NotAsked` if the command cannot be started; else as all transports do.
    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        var environment = Self.inheritedEnvironment()
        environment["AUTON_CONVERSATION"] = turn.conversation
        environment["AUTON_TURN"] = String(turn.number)
        var child = Command("sh", ["-c", command], environment: environment)
        child.input = try CompactJSON.encode(request)
        let result = try await child.run()
        guard result.succeeded else {
            let reason = result.errors.text.split(separator: "\n").last.map { ": \($0)" } ?? ""
            let error = AutonError(.unavailable, "the model command failed (\(result.ending))\(reason)", at: command)
            // So a shell says it, but a script may end so that has asked a model before.
            let isMissing = result.ending == .exited(127) || result.ending == .exited(126)
            if isMissing && startsNothing(path: environment["PATH"] ?? "") { throw NotAsked(error) }
            throw error
        }
        return try response(in: result.output.bytes)
    }

    private func response(in bytes: [UInt8]) throws -> MessagesResponse {
        do {
            return try CompactJSON.decode(MessagesResponse.self, from: bytes, at: command)
        } catch let error as AutonError {
            // An error of the API's, in its own words.
            let said = try? CompactJSON.decode(JSONValue.self, from: bytes, at: command)["error"]?["message"]?.string
            throw AutonError(
                .unavailable,
                said.map { "the model command's reply is an error: \($0)" }
                    ?? "the model command's reply is no response: \(error.what)", at: command)
        }
    }

    /// Whether the command is one program and its arguments, and there is no such program.
    private func startsNothing(path: String) -> Bool {
        guard command.utf8.allSatisfy({ $0.isLetterOrDigit || " -_./:,+@%".utf8.contains($0) }),
            let program = command.split(separator: " ").first.map(String.init), !Self.starters.contains(program)
        else { return false }
        return program.contains("/") ? access(program, X_OK) != 0 : Tools.find(program, in: path) == nil
    }

    /// The words of a shell's own that start a program.
    private static let starters = [".", "command", "eval", "exec"]

    private static func inheritedEnvironment() -> [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 && !APIKey.variables.contains(String(pair[0])) { variables[String(pair[0])] = String(pair[1]) }
            entry += 1
        }
        return variables
    }
}
