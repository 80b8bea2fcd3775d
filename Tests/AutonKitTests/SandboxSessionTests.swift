import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Commands that come one after another into one sandbox: nothing of one is there for the next, or for us.
@Suite(.serialized) final class SandboxSessionTests {
    private let directory: TemporaryDirectory
    private let session: SandboxSession

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write("tree/file", "inside\n")
        try Worktree.handOver(directory["tree"])
        session = SandboxSession(Sandbox(directory["tree"]))
    }

    private func shell(_ script: String, _ change: (inout Sandbox.Limits) -> Void = { _ in }) async throws -> CommandResult {
        var limits = Sandbox.Limits()
        change(&limits)
        return try await session.run("sh", ["-c", script], limits: limits)
    }

    /// Processes in the sandbox beside the one that looks.
    private func others() async throws -> String { try await shell("echo /proc/[0-9]*").line }

    @Test func oneSandboxServesAllCommands() async throws {
        let first = try await shell("echo one > new; readlink /proc/self/ns/pid; echo $$")
        let second = try await shell("cat new; readlink /proc/self/ns/pid; echo $$")
        #expect(second.output.text.hasPrefix("one\npid:"))
        #expect(second.output.text.split(separator: "\n")[1] == first.output.text.split(separator: "\n")[0])
        #expect(second.output.text.split(separator: "\n")[2] != first.output.text.split(separator: "\n")[1])
        await session.leave()
        #expect(try await shell("cat new").output.text == "one\n", "entered anew")
    }

    @Test(arguments: [
        "setsid flock lock sleep 300 &", "(setsid sh -c 'flock lock sleep 300 &' &)", "nohup flock lock sleep 300 &",
        "(trap '' HUP INT TERM QUIT USR1 USR2 PIPE CHLD; flock lock sleep 300) &",
        "setsid sh -c 'while :; do flock lock sleep 300; done' &",
    ])
    func daemonsAreGoneBeforeTheResultIsThere(_ daemon: String) async throws {
        let begun = "while flock --nonblock lock true; do sleep 0.01; done; exit 3"
        #expect(try await shell("\(daemon)\n\(begun)").ending == .exited(3))
        #expect(try FileLock(trying: directory["tree/lock"]) != nil)
        #expect(try await others().split(separator: " ").count == 2)
    }

    @Test func aForkBombInAMakefileLine() async throws {
        try directory.write("tree/Makefile", "all:\n\t@f() { f | f & }; f; while :; do :; done\n")
        var limits = Sandbox.Limits()
        limits.processes = 60
        limits.seconds = 1
        let result = try await session.run("make", ["all"], limits: limits)
        #expect(!result.succeeded)
        #expect(try await others().split(separator: " ").count == 2)
    }

    @Test func nothingIsLeftForTheNextCommand() async throws {
        let script = """
            echo x >/tmp/file; mkdir -p /tmp/a/b; echo x >/tmp/a/b/c; ln -s /kernel/file /tmp/link; mkdir -m 0 /tmp/locked
            mkfifo /tmp/pipe; ipcmk -M 4096; ipcmk -Q; ipcmk -S 1; echo x >/dev/shm/x; ulimit -n 5; exit 0
            """
        #expect(try await shell(script).succeeded)
        let found = try await shell("ls -A /tmp /dev/shm; ipcs | grep -c 0x; ulimit -n")
        #expect(found.output.text == "/dev/shm:\n\n/tmp:\n0\n256\n")
        #expect(try directory.read("tree/file") == "inside\n")
    }

    /// What cannot be tidied up is left with its sandbox.
    @Test func aDirectoryTooDeepToBeRemoved() async throws {
        let script = "cd /tmp; i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done"
        #expect(try await shell("ulimit -s unlimited 2>/dev/null; \(script)") { $0.seconds = 60 }.succeeded)
        #expect(try await shell("ls -A /tmp").output.text == "")
    }

    @Test func removingEverythingRemovesTheTree() async throws {
        try directory.write("other/file", "outside\n")
        #expect(try await shell("rm -rf ~ .* *; timeout 2 rm -rf --no-preserve-root /").ending != .timedOut)
        #expect(try Files.list(directory["tree"]) == [])
        #expect(try directory.read("other/file") == "outside\n")
        #expect(try await shell("ls /usr/bin/ls").succeeded)
    }

    @Test func theKeyIsNotToBeRead() async throws {
        setenv("ANTHROPIC_API_KEY", "sk-ant-test-of-the-sandbox", 1)
        defer { unsetenv("ANTHROPIC_API_KEY") }
        let file = try directory.write("key", "sk-ant-test-of-the-sandbox")
        let script = """
            cat /proc/*/environ /proc/$PPID/environ /proc/1/environ /proc/*/cmdline /proc/*/root/\(file) \(file) /proc/1/mem
            cat /proc/1/root\(file) /proc/1/cwd/../key ../key; set; grep -r sk-ant-test /dev /etc /tmp /kernel
            """
        let result = try await shell(script)
        #expect(!result.output.text.contains("sk-ant-test-of") && result.output.total > 0)
    }

    @Test func linksLeadNowhere() async throws {
        let outside = try directory.write("outside", "as it was\n")
        symlink(outside.string, directory["tree/link"].string)
        let result = try await shell("echo x >link; ln -s \(directory.path) up; echo x >up/outside; echo x >../outside")
        #expect(!result.succeeded)
        #expect(try directory.read("outside") == "as it was\n")
    }

    @Test(arguments: [
        "printf '#include \"%s\"\\n' /etc/passwd $SECRET | gcc -x c -E -",
        "echo '.incbin \"/etc/shadow\"' | gcc -x assembler -c -o o -",
        "echo '.incbin \"'$SECRET'\"' | gcc -x assembler -c -o o -",
        "echo 'incbin \"/etc/passwd\"' >a.asm; nasm -f bin -o o a.asm",
        "echo 'incbin \"'$SECRET'\"' >a.asm; nasm -f bin -o o a.asm", "printf 'INCLUDE %s\\n' $SECRET >x.ld; ld -T x.ld -o o",
    ])
    func compilersIncludeNothingFromOutside(_ command: String) async throws {
        let secret = try directory.write("secret", "int secret_from_outside;\n")
        let result = try await shell("SECRET=\(secret); \(command)")
        #expect(!result.succeeded)
        #expect(!(result.output.text + result.errors.text).contains("secret_from_outside"))
        #expect(!(result.output.text + result.errors.text).contains("root:x:"))
        #expect(
            result.errors.text.contains("o such file") || result.errors.text.contains("not found")
                || result.errors.text.contains("cannot")
                || result.errors.text.contains("unable"))
    }

    /// A plugin is a program as any other: it has the tree, and nothing else.
    @Test func aCompilerPlugin() async throws {
        let secret = try directory.write("secret", "outside\n")
        try directory.write(
            "tree/plugin.c",
            """
            #include <stdlib.h>
            __attribute__((constructor)) static void run(void)
            {
                system("id -u >ran; cat \(secret) /etc/shadow >>ran 2>/dev/null; (echo x >/usr/bin/x) 2>/dev/null;"
                       "setsid flock lock sleep 300 & while flock --nonblock lock true; do sleep 0.01; done");
            }
            """)
        let result = try await shell(
            "gcc -shared -fPIC -o plugin.so plugin.c && echo 'int x;' | gcc -fplugin=./plugin.so -x c -c -o x.o -")
        #expect(!result.succeeded, "it is no plugin by gcc's own rules, but has run")
        #expect(try directory.read("tree/ran") == "65534\n")
        #expect(!Files.exists("/usr/bin/x"))
        #expect(try FileLock(trying: directory["tree/lock"]) != nil)
    }

    @Test func theSupervisorIsOutOfReach() async throws {
        let name = "auton-test-\(getpid())"
        let listener = try Self.listen(abstract: name)
        defer { close(listener) }
        try directory.write("tree/attack.c", attack)
        #expect(try await shell("gcc -o attack attack.c").succeeded)
        let before = try await shell("readlink /proc/self/ns/pid; nice")
        let result = try await shell("./attack \(name)")
        #expect(
            result.output.text == """
                attach EPERM
                seize EPERM
                read EPERM
                memory EACCES
                socket EACCES
                getfd EPERM
                prlimit EPERM
                affinity EPERM
                scheduler EPERM
                nice of all EPERM
                nice of 1 EPERM
                own nice -
                user namespace EPERM
                mount namespace EPERM
                keyring ENOSYS
                memfd ENOSYS
                System V memory ENOSYS
                System V queue ENOSYS
                System V semaphore ENOSYS
                message queue ENOSYS
                io_uring ENOSYS
                bpf EPERM
                terminal ENOTTY
                Internet EAFNOSUPPORT
                vsock EAFNOSUPPORT
                netlink EAFNOSUPPORT
                abstract socket ECONNREFUSED

                """)
        #expect(try await shell("readlink /proc/self/ns/pid; nice").output == before.output, "it is the same sandbox still")
    }

    private static func listen(abstract name: String) throws -> Int32 {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.dropFirst().copyBytes(from: name.utf8) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
        }
        try #require(bound == 0 && Glibc.listen(listener, 1) == 0)
        return listener
    }

    /// Not those either that we, or who started us, left open for all children.
    @Test func noOpenFileOfOursIsPassedOn() async throws {
        let file = open(try directory.write("secret", "outside\n").string, O_RDONLY)
        defer { close(file) }
        #expect(try await shell("cat <&\(file)").ending == .exited(2))
        #expect(try await shell("echo /proc/self/fd/*").line == "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3")
    }

    @Test func whatLooksLikeAnAnswerIsOutput() async throws {
        let forged = "+" + String(repeating: #"\0"#, count: 48) + #"\001\0\0\0\0\0\0\0"#
        let result = try await shell("printf '\(forged)'; printf '\(forged)' >&2; exit 9")
        #expect(result.ending == .exited(9))
        #expect(result.output.total == 57 && result.output.bytes == result.errors.bytes)
    }

    @Test func aProgramThatIsNotThereIsNoJudgement() async throws {
        let error = await failure { try await session.run("no-such-program", []) }
        #expect(error?.status == .unavailable)
        #expect(error?.description == "cannot run in the sandbox: No such file or directory: no-such-program")
        #expect(try await shell("true").succeeded)
    }

    @Test func aCommandTooLongToBeBegunIsAResult() async throws {
        let result = try await shell(String(repeating: "#", count: 200_000))
        #expect(result.ending == .exited(126))
        #expect(result.errors.text == "sh: Argument list too long\n")
    }

    @Test func aSandboxThatDiesIsNoJudgement() async throws {
        let session = session
        let command = Task { try await session.run("sh", ["-c", "echo x >begun; sleep 100"]) }
        while !Files.exists(directory["tree/begun"]) { try await Task.sleep(for: .milliseconds(10)) }
        let supervisor = try #require(try Self.supervisor(of: directory["tree"]))
        kill(supervisor, SIGKILL)
        let error = await failure { try await command.value }
        #expect(error?.status == .tryAgain)
        #expect(error?.what.hasPrefix("the sandbox failed") == true)
        #expect(try await shell("echo on").output.text == "on\n")
    }

    /// Found from outside: the child of the bwrap that has the directory among its words.
    private static func supervisor(of directory: FilePath) throws -> pid_t? {
        func read(_ name: String, _ file: String) -> String { (try? Files.readText(FilePath("/proc/\(name)/\(file)"))) ?? "" }
        let processes = try Files.list("/proc").filter { pid_t($0) != nil }
        guard let bubblewrap = processes.first(where: { read($0, "cmdline").contains("\0\(directory)\0") }) else { return nil }
        return processes.first { read($0, "status").contains("PPid:\t\(bubblewrap)\n") }.flatMap { pid_t($0) }
    }

    @Test func twoCommandsAtOnceAreABug() async throws {
        let session = session
        async let first = session.run("sh", ["-c", ": >begun; until test -e go; do sleep 0.02; done"])
        while !Files.exists(directory["tree/begun"]) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(await failure { try await session.run("true", []) }?.status == .bug)
        try directory.write("tree/go", "")
        #expect(try await first.succeeded)
    }
}
