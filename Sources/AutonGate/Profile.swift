import AutonKit
import AutonMessages
import SystemPackage

/// Tells in which functions a test or benchmark spends its instructions, by a plugin of QEMU's that sees each block that
/// is executed.
package struct Profile: Sendable {
    /// From when to when blocks are counted.
    struct Window: Sendable {
        var plugin: FilePath
        /// The test's or benchmark's first instruction.
        var from: UInt64
        /// The runner's function that called it.
        var runner: (address: UInt64, size: UInt64)

        func arguments(plugin: String, output: String) -> [String] {
            let hex = { (number: UInt64) in String(number, radix: 16) }
            return [
                "-plugin",
                "file=\(plugin),from=\(hex(from)),in=\(hex(runner.address)),size=\(hex(runner.size)),to=\(output)",
            ]
        }
    }

    static let output = "profile"
    static let pluginInside = "/profile.so"
    private let plugin: FilePath

    /// - Parameters:
    ///   - source: the plugin's.
    ///   - directory: where it is compiled to.
    /// - Throws: `AutonError` with `.badConfiguration` if it does not compile.
    package init(source: FilePath, directory: FilePath) async throws {
        plugin = try await QEMUPlugin.compile(source, to: directory)
    }

    /// Instructions by function; empty if the image has no such test or benchmark, or does not come to its end.
    ///
    /// - Parameter name: `ipc.pump`
    package func functions(of name: String, isBench: Bool, in image: FilePath, seconds: Double) async throws
        -> [String: Int]
    {
        let symbol = (isBench ? "kbench_" : "ktest_") + name.replacing(".", with: "__")
        guard let elf = ELFImage(try Files.read(image)), let from = elf.place(of: symbol)?.address,
            let runner = elf.place(of: isBench ? "bench_ticks" : "run_test")
        else { return [:] }
        var boot = Boot(image: image, seconds: seconds)
        boot.machine.countsInstructions = true
        boot.benches = isBench ? [] : nil
        boot.profile = Window(plugin: plugin, from: from, runner: runner)
        let code = elf.code
        var found: [String: Int] = [:]
        for line in String(decoding: try await boot.run().profile, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let address = UInt64(words[0], radix: 16), let count = Int(words[1]) else { continue }
            found[Self.function(at: address, in: code), default: 0] += count
        }
        return found
    }

    /// The code that the address is in, by what begins at it or before.
    static func function(at address: UInt64, in code: [(address: UInt64, name: String)]) -> String {
        var low = 0, high = code.count
        while low < high {
            let middle = (low + high) / 2
            if code[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? code[low - 1].name : String(address, radix: 16)
    }
}
