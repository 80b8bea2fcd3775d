import AutonKit
import Glibc
import SystemPackage

/// A plugin of QEMU's, compiled where it is needed, which costs a tenth of a second: once for a user, or in a process where nothing can be kept.
actor QEMUPlugin {
    /// What of QEMU the plugins declare, and what they have in common.
    static var headers: [FilePath] { ["qemu-plugin.h", "findings.h", "prefixes.h", "ranges.h"].map(Share.data) }

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
            let kept = try await Self.kept(source)
            if let kept, let bytes = try? Files.read(kept) { return bytes }
            let output = directory.appending("compiled")
            let result = try await Command("gcc", ["-O2", "-shared", "-fPIC", "-o", output.string, source.string]).run()
            guard result.succeeded else {
                throw AutonError(
                    .badConfiguration, "a plugin of QEMU's does not compile: \(Text.lines(result.errors.text).first ?? "")",
                    at: source.string)
            }
            let bytes = try Files.read(output)
            if let kept {
                try? Files.createDirectories(kept.removingLastComponent())
                try? Files.replace(kept, bytes, temporary: FilePath("\(kept).\(getpid())"))
            }
            return bytes
        }
        compiled[source] = task
        return try await task.value
    }

    /// Where the user's cache has what a source like this compiles to, named by its digest and those of the headers, nothing that a model wrote
    /// can reach it; nil where nothing can be kept.
    private static func kept(_ source: FilePath) async throws -> FilePath? {
        guard let directory = Share.cache("plugins") else { return nil }
        let digests = try await Tools.sha256sum(["--zero"] + ([source] + headers).map(\.string)).split(separator: "\0")
        return directory.appending("\(source.stem ?? "")-\(digests.map { $0.prefix(16) }.joined(separator: "-")).so")
    }
}
