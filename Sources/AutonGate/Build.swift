import AutonKit
import Glibc
import SystemPackage

/// Builds a kernel tree by its own Makefile, in the sandbox.
package struct Build: Sendable {
    /// The kernel, and what else the tree has the sources for: `make`.
    ///
    /// - Parameter directory: the tree; `build/` in it is written.
    package static func run(in directory: FilePath, limits: RunLimits = RunLimits()) async throws -> BuildResult {
        try await Sandbox(directory).enter { try await run(in: $0, limits: limits) }
    }

    /// - Parameters:
    ///   - sandbox: its directory is the tree.
    ///   - subdirectory: or this directory in it.
    package static func run(in sandbox: SandboxSession, subdirectory: String = ".", limits: RunLimits) async throws -> BuildResult
    {
        try await make([], "build/kernel.elf", in: sandbox, subdirectory: subdirectory, limits: limits)
    }

    /// A CD of the kernel that is built already, by GRUB: `make iso`.
    static func iso(in directory: FilePath, limits: RunLimits) async throws -> BuildResult {
        try await Sandbox(directory).enter { try await make(["iso"], "build/kernel.iso", in: $0, limits: limits) }
    }

    private static func make(
        _ targets: [String], _ product: String, in sandbox: SandboxSession, subdirectory: String = ".", limits: RunLimits
    ) async throws -> BuildResult {
        let start = ContinuousClock.now
        let directory = sandbox.sandbox.directory.appending(subdirectory).lexicallyNormalized()
        var bounds = limits.sandbox
        bounds.seconds = limits.buildSeconds
        bounds.output = 256 << 10
        // The file is named, since make would take a GNUmakefile before it.
        let make = ["--silent", "--file=Makefile", "--directory=\(subdirectory)", "--no-print-directory"] + targets
        var result = try await sandbox.run("make", make + ["--jobs=2"], limits: bounds)
        if case .exited(let status) = result.ending, status != 0 {
            // Once more for the record: every error and not only the first, in an order that does not depend on
            // which compiler was faster. What did compile is not compiled again.
            result = try await sandbox.run("make", make + ["--keep-going"], limits: bounds)
        }
        let image = directory.appending(product)
        // Links would lead out of the sandbox whoever reads the image.
        let made = Files.type(of: directory.appending("build")) == S_IFDIR && Files.type(of: image) == S_IFREG
        return BuildResult(
            image: image, succeeded: result.succeeded && made, result: result, seconds: start.duration(to: .now).seconds,
            limit: limits.buildSeconds)
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
