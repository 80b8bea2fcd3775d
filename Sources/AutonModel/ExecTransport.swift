import AutonKit
import AutonSettings
import Glibc

/// Asks a command: one request JSON on its standard input, one response JSON on its standard output, for every turn.
///
/// It runs by `sh -c`, in our environment with `AUTON_CONVERSATION` and `AUTON_TURN` added, the key to the API left out.
package struct ExecTransport: Transport {
    package let model = "exec model"
    private let command: String

    package init(command: String) { self.command = command }

    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        var environment = Self.inheritedEnvironment()
        environment["AUTON_CONVERSATION"] = turn.conversation
        environment["AUTON_TURN"] = String(turn.number)
        var child = Command("sh", ["-c", command], environment: environment)
        child.input = try CompactJSON.encode(request)
        let result = try await child.run()
        guard result.succeeded else {
            let reason = result.errors.text.split(separator: "\n").last.map { ": \($0)" } ?? ""
            throw AutonError(.unavailable, "the model command failed (\(result.ending))\(reason)", at: command)
        }
        return try CompactJSON.decode(MessagesResponse.self, from: result.output.bytes, at: command)
    }

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
