import AutonKit
import SystemPackage

/// A plugin of QEMU's, compiled where it is needed, once in a process: it costs a tenth of a second.
actor QEMUPlugin {
    /// What of QEMU the plugins declare, and what they have in common.
    static var headers: [FilePath] { ["qemu-plugin.h", "findings.h", "ranges.h"].map(Share.data) }

    /// `FIRST+SIZE`, as plugins are told of a range (data/ranges.h).
    static func words(_ range: Range<UInt64>) -> String {
        String(range.lowerBound, radix: 16) + "+" + String(range.upperBound - range.lowerBound, radix: 16)
    }

    private static let shared = QEMUPlugin()

    private var compiled: [FilePath: Task<[UInt8], any Error>] = [:]

    /// Puts the plugin into `directory`, which nobody else writes to.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if it does not compile.
    @discardableResult static func compile(_ source: FilePath, to directory: FilePath) async throws -> FilePath {
        let plugin = directory.appending((source.stem ?? "plugin") + ".so")
        try Files.write(plugin, try await shared.bytes(of: source, directory: directory), sync: false)
        // Whatever our umask is, the sandbox's user reads it.
        try Worktree.handOver(plugin)
        return plugin
    }

    private func bytes(of source: FilePath, directory: FilePath) async throws -> [UInt8] {
        if let task = compiled[source] { return try await task.value }
        let task = Task {
            let output = directory.appending("compiled")
            let result = try await Command("gcc", ["-O2", "-shared", "-fPIC", "-o", output.string, source.string]).run()
            guard result.succeeded else {
                throw AutonError(
                    .badConfiguration, "a plugin of QEMU's does not compile: \(Text.lines(result.errors.text).first ?? "")",
                    at: source.string)
            }
            return try Files.read(output)
        }
        compiled[source] = task
        return try await task.value
    }
}
