import AutonKit
import SystemPackage

/// Remembers that the self-check was passed by exactly these programs, tools, corpus and protected files: a file named by the
/// digest of them all, in the user's cache directory, where nothing that a model wrote can reach.
package struct SelfCheckStamp: Sendable {
    private let path: FilePath?

    /// - Parameters:
    ///   - corpus: the self-check's corpus.
    ///   - kernel: the kernel tree whose protected side it uses.
    package init(corpus: FilePath, kernel: FilePath) async throws {
        guard let directory = Self.directory else {
            path = nil
            return
        }
        var files: [FilePath] = ["/proc/self/exe", try Sandbox.supervisor]
        for root in [corpus] + ["harness", "Makefile", "kernel.ld"].map(kernel.appending) + [
            HarnessWatch.source, HarnessFlow.source,
        ] + QEMUPlugin.headers {
            try Self.collect(root, &files)
        }
        let tools = try await Self.versions()
        let digests = try await Self.sha256sum(files.map(\.string))
        path = directory.appending(try await Self.sha256sum([], input: digests + tools).prefix(64).description)
    }

    package var isThere: Bool { path.map(Files.exists) ?? false }

    /// Where nothing can be kept, the next run asks again.
    package func leave() {
        guard let path else { return }
        try? Files.createDirectories(path.removingLastComponent())
        try? Files.write(path, [], sync: false)
    }

    /// By the XDG base directory specification; nil where there is no home.
    private static var directory: FilePath? {
        let home = environment("HOME").map { FilePath($0) }.flatMap { Files.isDirectory($0) ? $0.appending(".cache") : nil }
        return (environment("XDG_CACHE_HOME").map { FilePath($0) } ?? home)?.appending("auton/self-check")
    }

    private static func collect(_ path: FilePath, _ files: inout [FilePath]) throws {
        guard Files.isDirectory(path) else { return files.append(path) }
        for name in try Files.list(path).sorted() { try collect(path.appending(name), &files) }
    }

    /// What the tools say of themselves.
    private static func versions() async throws -> String {
        let tools = ["bwrap", "qemu-system-x86_64", "make", "gcc", "as", "ld", "nasm", "git"]
        return try await withThrowingTaskGroup { group in
            for tool in tools {
                group.addTask { tool + ": " + (try await Command(tool, ["--version"]).run().output.text) }
            }
            return try await group.reduce(into: []) { $0.append($1) }.sorted().joined(separator: "\n")
        }
    }

    private static func sha256sum(_ arguments: [String], input: String = "") async throws -> String {
        var command = Command("sha256sum", arguments)
        command.input = Array(input.utf8)
        let result = try await command.run()
        guard result.succeeded else { throw AutonError(.tryAgain, "no digest: \(Text.lines(result.errors.text).first ?? "")") }
        return result.output.text
    }
}
