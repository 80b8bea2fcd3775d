import Glibc
import SystemPackage

/// The programs of others that the stages run, and the Debian packages that have them.
package enum Tools {
    private static let packages = [
        "git": "git", "bwrap": "bubblewrap", "qemu-system-x86_64": "qemu-system-x86", "make": "make", "gcc": "gcc",
        "nasm": "nasm", "ld": "binutils", "prlimit": "util-linux", "setpriv": "util-linux", "sha256sum": "coreutils",
        "inotifywait": "inotify-tools", "libcurl.so.4": "libcurl4",
    ]

    package static func missing(_ program: String) -> AutonError {
        let package = packages[program].map { "install the package \($0), or run make deps" } ?? "not found in PATH"
        return AutonError(.unavailable, "\(program) is missing", at: package)
    }

    /// Says before any work is begun that a tool is missing that it would need in the middle.
    package static func require(_ programs: String...) throws {
        for program in programs where find(program) == nil { throw missing(program) }
    }

    package static func find(_ program: String) -> FilePath? {
        find(program, in: getenv("PATH").map { String(cString: $0) } ?? "")
    }

    /// - Parameter path: directories with colons between them.
    package static func find(_ program: String, in path: String) -> FilePath? {
        path.split(separator: ":").map { FilePath(String($0)).appending(program) }
            .first { access($0.string, X_OK) == 0 }
    }

    /// The digest of a file as `sha256:<hex>`, by sha256sum(1).
    package static func digest(of path: FilePath) async throws -> String {
        let result = try await Command("sha256sum", [path.string]).run()
        guard result.succeeded else { throw AutonError(.badInput, "no digest: \(result.errors.text)", at: path.string) }
        return "sha256:" + result.output.text.prefix(64)
    }
}
