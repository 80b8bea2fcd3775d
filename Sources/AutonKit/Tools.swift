import Glibc
import SystemPackage

/// The programs of others that the stages run, and the Debian packages that have them.
package enum Tools {
    private static let packages = [
        "git": "git", "bwrap": "bubblewrap", "qemu-system-x86_64": "qemu-system-x86", "make": "make", "gcc": "gcc",
        "nasm": "nasm", "ld": "binutils", "sha256sum": "coreutils", "taskset": "util-linux",
        "inotifywait": "inotify-tools", "libcurl.so.4": "libcurl4",
    ]

    package static func missing(_ program: String) -> AutonError {
        let package = packages[program].map { "install the package \($0), or run make deps" } ?? "not found in PATH"
        return AutonError(.unavailable, "\(program) is missing", at: package)
    }

    /// What keeps a CD that boots by GRUB from being made here; nil if nothing does.
    package static var missingForGRUB: AutonError? {
        let modules = "/usr/lib/grub/i386-pc/multiboot2.mod"
        for (found, what, package) in [
            (find("grub-mkrescue") != nil, "grub-mkrescue", "grub-common"), (find("xorriso") != nil, "xorriso", "xorriso"),
            (Files.exists(FilePath(modules)), "GRUB for a PC", "grub-pc-bin"),
        ] where !found {
            return AutonError(.unavailable, "\(what) is missing", at: "install the package \(package), or run make deps-dev")
        }
        return nil
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

    /// The program that runs.
    package static var running: FilePath {
        var link = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = max(0, readlink("/proc/self/exe", &link, link.count))
        return FilePath(String(decoding: link[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self))
    }

    /// The digest of a file as `sha256:<hex>`, by sha256sum(1).
    package static func digest(of path: FilePath) async throws -> String {
        let result = try await Command("sha256sum", [path.string]).run()
        guard result.succeeded else { throw AutonError(.badInput, "no digest: \(result.errors.text)", at: path.string) }
        return "sha256:" + result.output.text.prefix(64)
    }

    /// What sha256sum(1) prints.
    package static func sha256sum(_ arguments: [String], input: String = "") async throws -> String {
        var command = Command("sha256sum", arguments)
        command.input = Array(input.utf8)
        let result = try await command.run()
        guard result.succeeded else { throw AutonError(.tryAgain, "no digest: \(result.errors.text)") }
        return result.output.text
    }
}
