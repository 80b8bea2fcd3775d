import AutonKit
import SystemPackage

/// Where instructions are counted, has QEMU's main loop asleep whenever a processor halts, so that a boot goes the same way each time. A plugin of
/// QEMU's sees to it (data/halt.c, which says what happens otherwise).
enum HaltOrder {
    static var source: FilePath { Share.data("halt.c") }
    /// The compiled plugin's name.
    private static let plugin = "halt.so"

    /// What QEMU needs to have for it, in the directory of the boot.
    static func prepare(_ sandbox: Sandbox) async throws { try await QEMUPlugin.compile(source, to: sandbox.directory) }

    /// What QEMU is to be told.
    ///
    /// - Parameter inside: where QEMU finds a file of the boot's directory.
    static func arguments(_ inside: (String) -> String) -> [String] { ["-plugin", "file=\(inside(plugin))"] }
}
