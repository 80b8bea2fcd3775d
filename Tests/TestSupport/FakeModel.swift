import AutonKit
import AutonModel
import Glibc
import SystemPackage

/// The fake model (`fake-model --help`) as a process of a test's own, killed with the value.
package final class FakeModel: Sendable {
    /// `http://127.0.0.1:PORT`
    package let url: String
    private let process: pid_t
    /// It ends when this closes, also if the test's process is killed.
    private let lifeline: FileDescriptor
    private let directory: TemporaryDirectory

    /// Starts it and waits until it listens.
    ///
    /// - Parameters:
    ///   - script: steps, as `fake-model --help` tells them.
    ///   - replay: a recorded run, such as `runs/01-minimal-boot`.
    ///   - arguments: further ones of the command line.
    package init(script: [JSONValue] = [], replay: FilePath? = nil, _ arguments: String...) throws {
        directory = try TemporaryDirectory()
        try directory.write("script.json", String(decoding: CompactJSON.encode(script), as: UTF8.self))
        var words = [
            "--script", directory["script.json"].string, "--log", directory["log"].string, "--bodies", directory["bodies"].string,
        ]
        if let replay { words += ["--replay", replay.string] }
        let input = try FileDescriptor.pipe(options: .closeOnExec), output = try FileDescriptor.pipe(options: .closeOnExec)
        lifeline = input.writeEnd
        process = try Self.spawn(Program.directory.appending("fake-model"), words + arguments, input.readEnd, output.writeEnd)
        try input.readEnd.close()
        try output.writeEnd.close()
        var line: [UInt8] = []
        try output.readEnd.closeAfter {
            var chunk = [UInt8](repeating: 0, count: 256)
            while line.last != UInt8(ascii: "\n"),
                case let count = try chunk.withUnsafeMutableBytes({ try output.readEnd.read(into: $0) }), count > 0
            {
                line += chunk[..<count]
            }
        }
        url = String(decoding: line.dropLast(), as: UTF8.self)
        if url.isEmpty { throw AutonError(.unavailable, "fake-model did not start") }
    }

    /// Kills it, in the middle of whatever it does.
    package func stop() { kill(process, SIGKILL) }

    deinit {
        stop()
        waitpid(process, nil, 0)
        try? lifeline.close()
    }

    /// The log's lines in the order of their ending.
    ///
    /// - Parameter lines: waits up to ten seconds until there are so many. Without need for what was answered: that is in
    ///   the log before the client has all of it.
    package func log(lines: Int = 0) async throws -> [JSONValue] {
        for _ in 0..<1000 {
            let found =
                Files.exists(directory["log"]) ? try Files.read(directory["log"]).split(separator: UInt8(ascii: "\n")) : []
            if found.count >= lines {
                return try found.map { try CompactJSON.decode(JSONValue.self, from: Array($0), at: "log") }
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw AutonError(.bug, "the log has fewer than \(lines) lines: \(try directory.read("log"))")
    }

    /// The body of a request, by the log's `sequence`.
    package func body(_ sequence: Int) throws -> [UInt8] { try Files.read(directory["bodies/\(sequence).json"]) }

    private static func spawn(_ program: FilePath, _ words: [String], _ input: FileDescriptor, _ output: FileDescriptor) throws
        -> pid_t
    {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.rawValue, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output.rawValue, STDOUT_FILENO)
        var arguments = ([program.string] + words).map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var pid: pid_t = 0
        guard posix_spawn(&pid, program.string, &actions, nil, &arguments, environ) == 0 else {
            throw AutonError(.unavailable, "cannot run", at: program.string)
        }
        return pid
    }
}
