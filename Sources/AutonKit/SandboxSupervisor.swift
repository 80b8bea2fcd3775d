import CLinux
import Glibc
import SystemPackage

/// The process at the other end: auton-sandbox, and around it bubblewrap. It dies with its socket, and with us.
final class SandboxSupervisor: Sendable {
    struct Answer: Sendable {
        var reply: auton_sandbox_reply
        var output: CapturedOutput
        var errors: CapturedOutput
    }

    /// Seconds that it may take beyond a command's own.
    private static let patience = 30.0

    private let socket: SandboxSocket
    /// What it and bubblewrap print on standard error.
    private let complaints: SandboxSocket
    /// Ends with it, and knows how; nil if it could not be started.
    private let keeper: Task<CommandResult.Ending?, Never>
    private let directory: FilePath

    private init(
        _ socket: SandboxSocket, _ complaints: SandboxSocket, _ keeper: Task<CommandResult.Ending?, Never>, _ directory: FilePath
    ) {
        self.socket = socket
        self.complaints = complaints
        self.keeper = keeper
        self.directory = directory
    }

    static func enter(_ sandbox: Sandbox) async throws -> SandboxSupervisor {
        let temporary = sandbox.isConfined ? FilePath("/tmp") : try temporaryDirectory()
        let words = try sandbox.commandLine(temporary: temporary), environment = sandbox.variables(temporary: temporary)
        let (socket, theirs) = try SandboxSocket.pair(), (complaints, errors) = try SandboxSocket.pair()
        // Without bubblewrap nobody else sets the directory.
        let directory = sandbox.isConfined ? nil : sandbox.directory
        let keeper = Task {
            let ending = await OwnThread.run {
                let ending = Self.keep(words, environment, in: directory, theirs, errors)
                if !sandbox.isConfined { try? Files.removeTree(temporary) }
                return ending
            }
            theirs.close()
            errors.close()
            return ending ?? nil
        }
        let supervisor = SandboxSupervisor(socket, complaints, keeper, sandbox.directory)
        let ready = await OwnThread.run { socket.receive(1, within: patience) }
        guard ready == [UInt8(AUTON_SANDBOX_READY.rawValue)] else {
            throw await supervisor.failed("the sandbox cannot be set up", .unavailable)
        }
        return supervisor
    }

    private static func temporaryDirectory() throws -> FilePath {
        let path = try Files.createTemporaryDirectory("/tmp/auton-sandbox")
        try Worktree.handOver(path)
        return path
    }

    /// Runs one command.
    func run(_ words: [String], input: [UInt8], limits: Sandbox.Limits, stop: (@Sendable () -> Bool)?) async throws -> Answer {
        let text = words.map { $0 + "\0" }.joined().utf8
        let request = auton_sandbox_request(
            milliseconds: UInt64(limits.seconds * 1000), cpu_seconds: UInt64(4 * limits.seconds.rounded(.up)),
            address_space: UInt64(limits.memory), memory: UInt64(limits.totalMemory), processes: UInt64(limits.processes),
            file_size: UInt64(limits.fileSize), disk: UInt64(limits.disk), output: UInt64(limits.output),
            gives_way: limits.givesWay ? 1 : 0,
            argument_bytes: UInt64(text.count), input_bytes: UInt64(input.count))
        let head = [UInt8(AUTON_SANDBOX_RUN.rawValue)] + withUnsafeBytes(of: request) { Array($0) }
        let socket = socket, seconds = limits.seconds + Self.patience
        let answer = await OwnThread.run { () -> Answer? in
            guard socket.send(head + Array(text) + input),
                let head = socket.receive(MemoryLayout<auton_sandbox_reply>.size, within: seconds, stop: stop)
            else { return nil }
            let reply = head.withUnsafeBytes { $0.loadUnaligned(as: auton_sandbox_reply.self) }
            guard reply.output_bytes <= limits.output, reply.error_bytes <= limits.output,
                let printed = socket.receive(Int(reply.output_bytes + reply.error_bytes), within: Self.patience)
            else { return nil }
            let output = printed.prefix(Int(reply.output_bytes)), errors = printed.dropFirst(Int(reply.output_bytes))
            return Answer(
                reply: reply, output: CapturedOutput(limit: limits.output, kept: output, total: Int(reply.output_total)),
                errors: CapturedOutput(limit: limits.output, kept: errors, total: Int(reply.error_total)))
        }
        guard let answer = answer ?? nil else { throw await failed("the sandbox failed", .tryAgain) }
        return answer
    }

    func leave() async {
        socket.close()
        _ = await keeper.value
    }

    private func failed(_ what: String, _ status: ExitStatus) async -> AutonError {
        socket.close()
        let ending = await keeper.value
        let said = String(decoding: complaints.receiveAll(), as: UTF8.self).split(separator: "\n").joined(separator: "; ")
        let reason = said.isEmpty ? ending.map { "its supervisor ended, \($0)" } ?? "" : said
        return AutonError(status, reason.isEmpty ? what : "\(what): \(reason)", at: directory.string)
    }

    /// Starts it and waits for its end.
    private static func keep(
        _ words: [String], _ environment: [String: String], in directory: FilePath?, _ socket: SandboxSocket,
        _ errors: SandboxSocket
    ) -> CommandResult.Ending? {
        defer {
            socket.close()
            errors.close()
        }
        // To Linux a process's niceness is its first thread's alone; the child has that of the thread which starts it: ours.
        let process = __priority_which_t(PRIO_PROCESS.rawValue)
        setpriority(process, 0, getpriority(process, id_t(getpid())))
        var actions = posix_spawn_file_actions_t(), attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, socket.number, STDIN_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, errors.number, STDERR_FILENO)
        // Not in our terminal's session: an interrupt there is for us, and ends it with us.
        posix_spawnattr_setflags(&attributes, auton_spawn_session)
        var arguments = words.map { strdup($0) } + [nil]
        var variables =
            (directory == nil ? Command.plainEnvironment : environment).map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, words[0], &actions, &attributes, &arguments, &variables)
        if code != 0 {
            _ = errors.send(Array("\(words[0]): \(Errno(rawValue: code))".utf8))
            return nil
        }
        socket.close()
        errors.close()
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
    }
}
