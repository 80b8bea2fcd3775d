import Glibc
import Subprocess
import SystemPackage

/// What a child process printed on one stream: its head and its tail, when it was more than fits.
package struct CapturedOutput: Sendable, Equatable {
    package private(set) var head: [UInt8] = []
    package private(set) var tail: [UInt8] = []
    /// Bytes printed in all.
    package private(set) var total = 0
    let limit: Int

    /// - Parameter limit: the number of bytes kept, half of them for the head.
    package init(limit: Int) { self.limit = limit }

    /// What another program kept by the same rule.
    ///
    /// - Parameter kept: the head's bytes and, right after them, the tail's.
    init(limit: Int, kept: ArraySlice<UInt8>, total: Int) {
        self.limit = limit
        self.total = total
        head = Array(kept.prefix(limit / 2))
        tail = Array(kept.dropFirst(limit / 2))
    }

    package mutating func append(_ bytes: some Collection<UInt8>) {
        total += bytes.count
        let room = max(0, limit / 2 - head.count)
        head += bytes.prefix(room)
        tail += bytes.dropFirst(room)
        // Trimmed in large steps, so that a flood costs no more than its bytes.
        if tail.count > limit { tail.removeFirst(tail.count - limit / 2) }
    }

    /// The output as text; where bytes were left out, a line says how many.
    package var text: String {
        let tail = tail.suffix(limit - limit / 2)
        let omitted = total - head.count - tail.count
        let end = String(decoding: tail, as: UTF8.self)
        guard omitted > 0 else { return String(decoding: head, as: UTF8.self) + end }
        return String(decoding: head, as: UTF8.self) + "\n[… \(omitted) bytes left out …]\n" + end
    }

    /// All bytes, if nothing was left out.
    package var bytes: [UInt8] { head + tail }
}

/// How a child process ended, and what it printed. A non-zero status is a result, not an error.
package struct CommandResult: Sendable {
    package enum Ending: Sendable, Equatable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)
        /// Killed, with all its descendants, at its wall time limit or because it was to stop.
        case timedOut
        /// Killed, with all its descendants, for what they used up together.
        case exceeded(Resource)

        package var description: String {
            switch self {
            case .exited(let status): "exit status \(status)"
            case .signalled(let signal): "killed by signal \(signal)"
            case .timedOut: "killed at its time limit"
            case .exceeded(let resource): "killed at its limit of \(resource.rawValue)"
            }
        }
    }

    /// What the processes of a sandboxed command share.
    package enum Resource: String, Sendable {
        case memory
        case disk = "disk space"
    }

    package var ending: Ending
    package var output: CapturedOutput
    package var errors: CapturedOutput

    package var succeeded: Bool { ending == .exited(0) }
    /// Standard output without the newlines at its end.
    package var line: String {
        String(output.text.reversed().drop { $0.isNewline }.reversed())
    }
}

/// Runs a child process to its end.
package struct Command: Sendable {
    /// A name, which is looked up in PATH, or a path.
    package var program: String
    package var arguments: [String]
    package var environment: [String: String]
    package var directory: FilePath?
    package var input: [UInt8] = []
    /// Seconds of wall time until it is killed; nil for no limit.
    package var timeLimit: Double?
    /// Asked every few milliseconds whether it is to be killed before its time limit; needs one.
    package var stop: (@Sendable () -> Bool)?
    /// Bytes kept of each of standard output and standard error.
    package var outputLimit = 64 << 20

    package init(_ program: String, _ arguments: [String], environment: [String: String] = Command.plainEnvironment) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
    }

    /// What a child is told of the world unless it needs more: no key, no configuration, no locale.
    package static let plainEnvironment = [
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent",
    ]

    /// A child may end before it has read its input. That must not end us; children have the signal again.
    private static let ignoresBrokenPipes: Void = { signal(SIGPIPE, SIG_IGN) }()

    /// - Throws: `AutonError` with `.unavailable` if the program is not installed, naming the package that has it.
    package func run() async throws -> CommandResult {
        Self.ignoresBrokenPipes
        var options = PlatformOptions()
        // A group of its own where it may have to be killed whole; else it shares our terminal's Ctrl-C.
        if timeLimit != nil { options.processGroupID = 0 }
        do {
            let result = try await Subprocess.run(
                executable, arguments: Arguments(arguments), environment: .custom(keyed(environment)),
                workingDirectory: directory, platformOptions: options, input: .inputWriter, output: .sequence, error: .sequence
            ) { execution in
                try await communicate(
                    pid: execution.processIdentifier.value, writer: execution.standardInputWriter,
                    output: execution.standardOutput, errors: execution.standardError)
            }
            let ending: CommandResult.Ending =
                switch result.terminationStatus {
                case _ where result.closureResult.timedOut: .timedOut
                case .exited(let status): .exited(status)
                case .signaled(let signal): .signalled(signal)
                }
            return CommandResult(ending: ending, output: result.closureResult.output, errors: result.closureResult.errors)
        } catch let error as SubprocessError where error.code == .executableNotFound {
            throw Tools.missing(program)
        } catch let error as SubprocessError {
            throw AutonError(.tryAgain, "cannot run: \(error)", at: program)
        }
    }

    /// Looked up here, because Subprocess forks anew for every directory of PATH that it tries.
    private var executable: Executable {
        if program.contains("/") { return .path(FilePath(program)) }
        return Tools.find(program, in: environment["PATH"] ?? "").map { .path($0) } ?? .name(program)
    }

    private struct Exchange: Sendable {
        var output: CapturedOutput
        var errors: CapturedOutput
        var timedOut: Bool
    }

    private func communicate(
        pid: pid_t, writer: StandardInputWriter, output: SubprocessOutputSequence, errors: SubprocessOutputSequence
    ) async throws -> Exchange {
        let limit = outputLimit
        let watchdog = timeLimit.map { seconds in
            Task {
                let end = ContinuousClock.now + .seconds(seconds)
                if let stop {
                    while !stop() && .now < end { try await Task.sleep(for: .milliseconds(10)) }
                } else {
                    try await Task.sleep(until: end)
                }
                kill(-pid, SIGKILL)
                return true
            }
        }
        async let printed = Self.drain(output, limit: limit)
        async let complained = Self.drain(errors, limit: limit)
        // A child that does not read its input is no failure of ours.
        _ = try? await writer.write(input)
        try? await writer.finish()
        let exchange = try await (printed, complained)
        watchdog?.cancel()
        let timedOut = (try? await watchdog?.value) ?? false
        return Exchange(output: exchange.0, errors: exchange.1, timedOut: timedOut)
    }

    private static func drain(_ sequence: SubprocessOutputSequence, limit: Int) async throws -> CapturedOutput {
        var captured = CapturedOutput(limit: limit)
        for try await chunk in sequence {
            chunk.withUnsafeBytes { captured.append($0) }
        }
        return captured
    }

    private func keyed(_ environment: [String: String]) -> [Environment.Key: String] {
        Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
    }
}
