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
    package var buildSeconds = 300.0
    /// Seconds of wall time until a boot counts as hung, without those in which QEMU waits for a processor.
    package var bootSeconds = 30.0

    package init() {}
}

/// Where what a model wrote runs: no network, a clean environment, one directory writable, bounded in every resource, and
/// the whole process tree dead at the end.
///
/// It is made by bubblewrap(1) and has auton-sandbox as process 1, which runs the commands.
package struct Sandbox: Sendable {
    package struct Limits: Sendable {
        /// Seconds of wall time. Each process may have four times as many of CPU time, so that one with several
        /// threads meets this limit first, and always the same way.
        package var seconds: Double = 60
        /// Bytes of address space for each process.
        /// As much as QEMU takes of it with 4 GiB for its guest, the largest machine of the gate's.
        package var memory = 6 << 30
        /// Bytes resident of all of a command's processes together.
        package var totalMemory = 4 << 30
        package var processes = 256
        /// Bytes of the largest file.
        package var fileSize = 64 << 20
        /// Bytes of all files in the directory, each counted as 4 KiB at least.
        package var disk = 1 << 30
        /// Bytes kept of each output stream.
        package var output = 32 << 10
        /// Whether others have the processors first, since how long it takes tells nothing.
        package var givesWay = false

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
    /// False: without bubblewrap, all else the same. Whoever asked for `--unsafe-no-sandbox` wants that of all of them.
    package var isConfined = !Self.isRenounced

    package init(_ directory: FilePath) { self.directory = directory }

    /// Set for the program and all that it starts by `--unsafe-no-sandbox`.
    package static let renouncement = "AUTON_UNSAFE_NO_SANDBOX"
    package static var isRenounced: Bool { environment(renouncement) != nil }

    package static func requireTools() throws {
        if !isRenounced { try Tools.require("bwrap") }
        _ = try supervisor
    }

    /// Where commands see the directory, something in it, or what was made readable.
    package func inside(_ path: FilePath) -> String {
        guard isConfined else { return path.string }
        if let bind = readable.first(where: { $0.outside == path }) { return bind.inside }
        var place = path
        return place.removePrefix(directory) ? FilePath(Self.mountPoint).pushing(place).string : path.string
    }

    /// Runs one command in a sandbox of its own.
    ///
    /// - Throws: `AutonError` if it could not be run, or if the sandbox failed while it ran.
    package func run(_ program: String, _ arguments: [String], input: [UInt8] = []) async throws -> CommandResult {
        try await enter { try await $0.run(program, arguments, input: input) }
    }

    /// Enters it for the commands of `body`, and leaves it after them.
    package func enter<T: Sendable>(_ body: (SandboxSession) async throws -> T) async throws -> T {
        let session = SandboxSession(self)
        do {
            let result = try await body(session)
            await session.leave()
            return result
        } catch {
            await session.leave()
            throw error
        }
    }
}
