import AutonKit
import Glibc
import SystemPackage

/// What comes with the programs: prompts, recorded runs, the kernel's protected side.
package enum Share {
    /// `name` in `$AUTON_SHARE`, which the front sets; else in the working directory, or where `make install` puts it, beside
    /// the program's `bin`.
    package static func find(_ name: String) -> String {
        if let share = environment("AUTON_SHARE") { return FilePath(share).appending(name).string }
        if Files.exists(FilePath(name)) { return name }
        guard let program = try? FilePath("/proc/self/exe").linkTarget() else { return name }
        let installed = program.removingLastComponent().removingLastComponent().appending("share/auton").appending(name)
        return Files.exists(installed) ? installed.string : name
    }
}

extension FilePath {
    fileprivate func linkTarget() throws -> FilePath {
        let text = try [CChar](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, count in
            count = max(0, readlink(string, buffer.baseAddress!, buffer.count))
            if count == 0 { throw Errno(rawValue: errno) }
        }
        return FilePath(String(decoding: text.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}
