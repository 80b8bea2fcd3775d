import AutonKit
import SystemPackage

/// A plugin of QEMU's, compiled where it is needed: it costs a tenth of a second, and nothing needs to be kept or trusted.
enum QEMUPlugin {
    /// Compiles the plugin to `directory`, which nobody else writes to.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if it does not compile.
    static func compile(_ source: FilePath, to directory: FilePath) async throws -> FilePath {
        let plugin = directory.appending((source.stem ?? "plugin") + ".so")
        let result = try await Command("gcc", ["-O2", "-shared", "-fPIC", "-o", plugin.string, source.string]).run()
        guard result.succeeded else {
            throw AutonError(
                .badConfiguration, "a plugin of QEMU's does not compile: \(Text.lines(result.errors.text).first ?? "")",
                at: source.string)
        }
        return plugin
    }
}
