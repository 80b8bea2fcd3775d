import AutonKit
import Glibc
import SystemPackage

/// Remembers that the self-check was passed by exactly these programs, tools, corpus and protected files: a file named by the
/// digest of them all, wherever they lie, in the user's cache directory, where nothing that a model wrote can reach.
package struct SelfCheckStamp: Sendable {
    private let path: FilePath?

    /// - Parameters:
    ///   - program: whose proof it is; the one that runs, by a name that is its own also in the program that reads it.
    ///   - corpus: the self-check's corpus.
    ///   - kernel: the kernel tree whose protected side it uses.
    package init(program: FilePath = FilePath("/proc/\(getpid())/exe"), corpus: FilePath, kernel: FilePath) async throws {
        guard let directory = Share.cache("self-check") else {
            path = nil
            return
        }
        var files: [(path: FilePath, name: String)] = [(program, "program"), (try Sandbox.supervisor, "supervisor")]
        let firmware = FilePath("/usr/share/qemu/qboot.rom")
        if Files.exists(firmware) { files.append((firmware, "firmware")) }
        let protected = ["harness", "Makefile", "kernel.ld"].map(kernel.appending)
        let plugins = [HarnessWatch.source, HarnessFlow.source, ProcessorWatch.source, HaltOrder.source] + QEMUPlugin.headers
        let roots = [corpus] + protected + plugins
        for (number, root) in roots.enumerated() { try Self.collect(root, "\(number)", &files) }
        let tools = try await Self.versions()
        let digests = try await Tools.sha256sum(["--zero"] + files.map(\.path.string)).split(separator: "\0").map {
            $0.prefix(64)
        }
        let inputs = zip(digests, files).map { "\($0)  \($1.name)\n" }.joined()
        path = directory.appending(try await Tools.sha256sum([], input: inputs + tools).prefix(64).description)
    }

    package var isThere: Bool { path.map(Files.exists) ?? false }

    /// Where nothing can be kept, the next run asks again.
    package func leave() {
        guard let path else { return }
        try? Files.createDirectories(path.removingLastComponent())
        try? Files.write(path, [], sync: false)
    }

    private static func collect(_ path: FilePath, _ name: String, _ files: inout [(path: FilePath, name: String)]) throws {
        guard Files.isDirectory(path) else { return files.append((path, name)) }
        for inside in try Files.list(path) { try collect(path.appending(inside), "\(name)/\(inside)", &files) }
    }

    /// What the tools say of themselves.
    private static func versions() async throws -> String {
        let tools = ["bwrap", "qemu-system-x86_64", "make", "gcc", "as", "ld", "nasm", "git", "awk", "sha256sum", "taskset"]
        return try await withThrowingTaskGroup { group in
            for tool in tools {
                group.addTask { tool + ": " + (try await Command(tool, ["--version"]).run().output.text) }
            }
            return try await group.reduce(into: []) { $0.append($1) }.sorted().joined(separator: "\n")
        }
    }
}
