import AutonKit
import SystemPackage

/// A new directory that nobody else has the name of.
enum TemporaryDirectory {
    static func make(_ prefix: FilePath) throws -> FilePath { try Files.createTemporaryDirectory(prefix) }
}
