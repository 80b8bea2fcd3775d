import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What a command in the sandbox can see and reach.
@Suite(.serialized) struct SandboxTests {
    private let directory: TemporaryDirectory
    private let tree: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        tree = directory["tree"]
        try directory.write("tree/file", "inside\n")
        try directory.write("other/file", "another worktree\n")
        try Worktree.handOver(tree)
    }

    private func shell(_ script: String, _ change: (inout Sandbox) -> Void = { _ in }) async throws -> CommandResult {
        var sandbox = Sandbox(tree)
        change(&sandbox)
        return try await sandbox.run("sh", ["-c", script])
    }

    @Test(arguments: [0, 1, 7, 127])
    func theExitStatusIsPassedThrough(_ status: Int32) async throws {
        #expect(try await shell("exit \(status)").ending == .exited(status))
    }

    @Test func aSignalIsAStatusAsInAShell() async throws {
        #expect(try await shell("kill -SEGV $$").ending == .signalled(SIGSEGV))
    }

    @Test func inputAndStreamsArePassedThrough() async throws {
        let result = try await Sandbox(tree).run("sh", ["-c", "cat; echo err >&2"], input: Array("in".utf8))
        #expect(result.output.text == "in")
        #expect(result.errors.text == "err\n")
    }

    @Test func thereIsNoNetwork() async throws {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                #expect(bind(socket, pointer, size) == 0 && listen(socket, 5) == 0 && getsockname(socket, pointer, &size) == 0)
            }
            return UInt16(bigEndian: $0.pointee.sin_port)
        }
        let connect = ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port)"]
        #expect(try await Command("bash", connect).run().succeeded, "it listens")
        #expect(try await Sandbox(tree).run("bash", connect).ending == .exited(1))
        #expect(try await shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").line == "lo")
    }

    @Test func ourEnvironmentIsNotVisible() async throws {
        setenv("AUTON_TEST_SECRET", "sk-secret-value", 1)
        let result = try await shell(
            "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' '\\n'")
        #expect(result.output.total > 0)
        #expect(!result.output.text.contains("sk-secret-value"))
        let names = try await shell("env").output.text.split(separator: "\n").map { $0.prefix { $0 != "=" } }
        #expect(Set(names) == ["PATH", "LC_ALL", "HOME", "TMPDIR", "PWD"])
    }

    @Test func onlyTheTreeAndTheSystemAreVisible() async throws {
        #expect(try await shell("ls /").line == "bin\ndev\netc\nkernel\nlib\nlib64\nproc\nsandbox\nsbin\ntmp\nusr")
        #expect(try await shell("ls /etc").line == "alternatives")
        #expect(try await shell("ls -A /usr/local /usr/src; echo x >/usr/local/x").output.text == "/usr/local:\n\n/usr/src:\n")
        #expect(try await shell("pwd; cat file; ls -A /tmp").output.text == "/kernel\ninside\n")
        for path in ["/home", "/root", "/etc/passwd", "/sys", "/var", "\(directory["other"])", "\(tree)", "/kernel/../other"] {
            #expect(try await shell("test -e \(path)").ending == .exited(1), "\(path)")
        }
        #expect(try await shell("ls /proc | grep -c '^[0-9]'").line.count == 1, "other processes are not visible")
    }

    /// On Debian these are links through /etc/alternatives.
    @Test(arguments: ["awk 'BEGIN { print 1 }'", "which sh"])
    func whatDebianLeavesToAlternativesRuns(_ command: String) async throws {
        #expect(try await shell(command).succeeded)
    }

    @Test func onlyTheTreeIsWritable() async throws {
        for path in ["/usr/x", "/etc/x", "/x", "/bin/x", "/proc/sys/kernel/hostname", "/dev/sda"] {
            #expect(try await shell("echo x > \(path)").ending != .exited(0), "\(path)")
        }
        #expect(try await shell("echo new > new; echo x > /tmp/x").succeeded)
        #expect(try directory.read("tree/new") == "new\n")
        #expect(try await shell("ls -A /tmp").output.text == "", "/tmp is new each time")
    }

    @Test func theTreeCanBeReadOnly() async throws {
        #expect(try await shell("echo x > new") { $0.isWritable = false }.ending != .exited(0))
        #expect(try await shell("cat file") { $0.isWritable = false }.output.text == "inside\n")
    }

    @Test func moreCanBeMadeReadable() async throws {
        let result = try await shell("cat /extra/file; echo x > /extra/file") { $0.readable = [(directory["other"], "/extra")] }
        #expect(result.output.text == "another worktree\n")
        #expect(!result.succeeded)
        #expect(try directory.read("other/file") == "another worktree\n")
    }

    @Test func itIsNobodyWithoutPrivileges() async throws {
        #expect(try await shell("id -u; id -g; id -G").output.text == "65534\n65534\n65534\n")
        let status = try await shell("cat /proc/self/status").output.text.split(separator: "\n")
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            #expect(status.contains("\(name):\t0000000000000000"), "\(name)")
        }
        #expect(status.contains("NoNewPrivs:\t1"))
        #expect(try await shell("mount -t tmpfs none /tmp").ending != .exited(0))
    }

    /// A command's niceness, its policy (3 is SCHED_BATCH, proc(5)) and, where the kernel schedules sessions, the niceness of its own.
    private func priority(givingWay: Bool) async throws -> [Int] {
        let look = "cut -d ' ' -f 19,41 /proc/self/stat; cut -d ' ' -f 3 /proc/self/autogroup || :"
        let result = try await shell(look) { $0.limits.givesWay = givingWay }
        #expect(result.succeeded)
        return try result.output.text.split(whereSeparator: \.isWhitespace).map { try #require(Int($0)) }
    }

    /// More than the tests themselves do: they may have been started with a niceness, and outside any session that the kernel schedules.
    @Test func itGivesWayWhenAsked() async throws {
        let usual = try await priority(givingWay: false)
        try #require((2...3).contains(usual.count))
        let (niceness, policy, sessions) = (usual[0], usual[1], usual.dropFirst(2))
        #expect(sessions.allSatisfy { $0 == max(niceness, 0) })
        let asked = [min(niceness + 5, 19), policy == 0 ? 3 : policy] + sessions.map { _ in min(niceness + 5, 19) }
        // One after the other at once: the kernel would not hear the second.
        for _ in 0..<3 { #expect(try await priority(givingWay: true) == asked) }
    }
}
