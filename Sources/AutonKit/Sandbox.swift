import Glibc
import SystemPackage

/// The bounds of all that runs of a model's making, in and out of the gate.
package struct RunLimits: Sendable {
    /// Of builds and shell commands, not of QEMU, which needs its own; the seconds are those of a shell command that asks
    /// for no others.
    package var sandbox = Sandbox.Limits()
    /// The most seconds that a shell command may ask for.
    package var shellMaxSeconds = 300
    /// Seconds of wall time.
    package var buildSeconds = 120.0
    /// Seconds of wall time until a boot counts as hung.
    package var bootSeconds = 10.0

    package init() {}
}

/// Runs what a model wrote: no network, a clean environment, one directory writable, bounded in every resource, and
/// the whole process tree dead at the end. By bubblewrap(1), prlimit(1) and, when started as root, setpriv(1).
package struct Sandbox: Sendable {
    package struct Limits: Sendable {
        /// Seconds of wall time. Each process may have four times as many of CPU time, so that one with several
        /// threads meets this limit first, and always the same way.
        package var seconds: Double = 60
        /// Bytes of address space for each process.
        package var memory = 2 << 30
        package var processes = 256
        /// Bytes of the largest file.
        package var fileSize = 64 << 20
        /// Bytes kept of each output stream.
        package var output = 32 << 10

        package init() {}
    }

    /// Where the directory appears inside, so that no path of this machine gets into builds or conversations.
    package static let mountPoint = "/kernel"
    /// Whom commands run as when we are root: nobody.
    package static let user: uid_t = 65534
    package static var changesUser: Bool { geteuid() == 0 }

    /// The directory that appears at `mountPoint`.
    package var directory: FilePath
    package var isWritable = true
    /// More binds, read-only: outside to inside.
    package var readable: [(outside: FilePath, inside: String)] = []
    package var limits = Limits()
    /// Asked every few milliseconds whether the command is to be killed before its time limit.
    package var stop: (@Sendable () -> Bool)?

    package init(_ directory: FilePath) { self.directory = directory }

    package static func requireTools() throws { try Tools.require("bwrap", "prlimit", "setpriv") }

    package func run(_ program: String, _ arguments: [String], input: [UInt8] = []) async throws -> CommandResult {
        var command = Command("bwrap", bubblewrap + ["--"] + privileges + limiter + [program] + arguments)
        command.input = input
        command.timeLimit = limits.seconds
        command.stop = stop
        command.outputLimit = limits.output
        let result = try await command.run()
        // bwrap's own complaints come before anything of ours has run.
        if result.ending == .exited(1), result.errors.text.hasPrefix("bwrap: ") {
            throw AutonError(.unavailable, "the sandbox cannot be set up: \(result.errors.text)", at: directory.string)
        }
        return result
    }

    private var bubblewrap: [String] {
        var arguments =
            Self.changesUser
            ? [
                "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL", "--cap-add",
                "CAP_SETUID",
                "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP",
            ]
            : ["--unshare-all", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
        arguments += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "auton"]
        for (name, value) in ["PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/tmp", "TMPDIR": "/tmp"].sorted(by: {
            $0.key < $1.key
        }) {
            arguments += ["--setenv", name, value]
        }
        arguments += ["--ro-bind", "/usr", "/usr"]
        for link in ["bin", "lib", "lib64", "sbin"] { arguments += ["--symlink", "usr/\(link)", "/\(link)"] }
        // Made by hand: bwrap would give it to root alone, and awk and cc are behind it.
        arguments += ["--perms", "0755", "--dir", "/etc"]
        arguments += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--proc", "/proc", "--dev", "/dev"]
        arguments += ["--perms", "1777", "--size", String(256 << 20), "--tmpfs", "/tmp"]
        arguments += [isWritable ? "--bind" : "--ro-bind", directory.string, Self.mountPoint]
        for bind in readable { arguments += ["--ro-bind", bind.outside.string, bind.inside] }
        // Last of all: who is not root outside owns what bwrap made inside.
        return arguments + ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", Self.mountPoint]
    }

    private var privileges: [String] {
        guard Self.changesUser else { return [] }
        return [
            "setpriv", "--reuid=\(Self.user)", "--regid=\(Self.user)", "--clear-groups", "--bounding-set=-all",
            "--inh-caps=-all", "--no-new-privs", "--",
        ]
    }

    private var limiter: [String] {
        [
            "prlimit", "--as=\(limits.memory)", "--cpu=\(4 * Int(limits.seconds.rounded(.up)))", "--nproc=\(limits.processes)",
            "--fsize=\(limits.fileSize)", "--nofile=256", "--core=0", "--",
        ]
    }
}
