import ArgumentParser
import AutonKit
import AutonMessages
import Glibc
import SystemPackage

@main
struct AutonBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auton-bench", abstract: "What make bench measures with; not installed.",
        subcommands: [Time.self, Filing.self, Budget.self, AfterRequest.self, Enter.self])
}

/// Times whole processes.
struct Time: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a command several times: wall time, median of the runs, and peak memory of the command itself.")

    @Option var runs = 5
    @Argument(parsing: .captureForPassthrough) var command: [String]

    func run() throws {
        var seconds: [Double] = []
        for _ in 0..<runs {
            let start = ContinuousClock.now
            let pid = try spawn()
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            seconds.append(start.duration(to: .now).inSeconds)
        }
        seconds.sort()
        let peak = try peak()
        print(
            "\(milliseconds(seconds[runs / 2])) ms (\(milliseconds(seconds[0])) to \(milliseconds(seconds[runs - 1]))), peak \((peak + 512) / 1024) MiB"
        )
    }

    /// KiB of resident memory at the most, from a run of its own: rusage would count children, compilers among them. VmHWM
    /// only grows, so no more is missed than what the last half millisecond adds.
    private func peak() throws -> Int {
        let pid = try spawn()
        var status: Int32 = 0
        var kibibytes = 0
        while waitpid(pid, &status, WNOHANG) == 0 {
            let text = (try? Files.readText(FilePath("/proc/\(pid)/status"))) ?? ""
            let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
            kibibytes = max(kibibytes, Int(line.split { !$0.isNumber }.first ?? "") ?? 0)
            usleep(500)
        }
        return kibibytes
    }

    private func spawn() throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        var arguments = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var pid: pid_t = 0
        guard posix_spawnp(&pid, words[0], &actions, nil, &arguments, environ) == 0 else {
            throw AutonError(.unavailable, "cannot run", at: words[0])
        }
        return pid
    }
}

/// Files messages beside the bare system calls that filing needs.
struct Filing: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "File verdicts one by one; the same bytes by bare system calls beside it.")

    @Option var messages = 200
    @Argument var directory: String

    func run() throws {
        let mailbox = Mailbox(FilePath(directory))
        try mailbox.prepare()
        let checks = (1...14).map { Check(name: "check-\($0)", status: .passed, seconds: 0.1, detail: "as it should be") }
        let tests = (1...60).map { TestResult(name: "boot.test_\($0)", outcome: .ok) }
        let verdicts = (1...messages).map {
            Verdict(task: "bench", attempt: $0, commit: "c", tree: "t", accepted: true, checks: checks, tests: tests, console: [])
        }
        let bytes = try Mailbox.encode(verdicts[0])
        // In turn, so that a slow moment of the disk meets both.
        var filing = 0.0, floor = 0.0
        for (number, verdict) in verdicts.enumerated() {
            filing += try timed { try mailbox.file(verdict) }
            let target = mailbox.root.appending("tmp/bare-\(number)")
            floor += try timed { _ = try Files.createDurably(target, bytes, temporary: mailbox.root.appending("tmp/bare.tmp")) }
        }
        let count = Double(messages)
        print("\(milliseconds(filing / count)) ms a message, \(milliseconds(floor / count)) ms of it write, fsync, rename, fsync")
    }

}

func timed(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    return start.duration(to: .now).inSeconds
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

func milliseconds(_ seconds: Double) -> String {
    let hundredths = Int((seconds * 100_000).rounded())
    let fraction = hundredths % 100
    return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
}
