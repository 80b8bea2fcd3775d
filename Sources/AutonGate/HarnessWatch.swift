import AutonKit
import SystemPackage

/// Sees from outside of the machine that nobody but the harness and the acceptance tests writes to the harness's memory, and
/// that their code is the image's when it is executed: a plugin of QEMU's looks on (data/watch.c).
struct HarnessWatch: Sendable {
    private struct Range: Sendable, Equatable {
        var first: UInt64
        var size: UInt64

        /// As the plugin reads it; `offset` is taken off its address.
        func text(less offset: UInt64 = 0) -> String { String(first &- offset, radix: 16) + "+" + String(size, radix: 16) }
    }

    static var source: FilePath { Share.data("watch.c") }
    static let output = "watch"
    static let pluginInside = "/watch.so"
    /// KERNEL_BASE of kernel.ld: virtual less physical address.
    private static let base: UInt64 = 0xffff_ffff_8000_0000

    let plugin: FilePath
    private var trusted: [Range]
    private var watched: [Range]
    private var text: (range: Range, offset: Int)
    private let names: [(address: UInt64, name: String)]

    /// Compiles the plugin.
    ///
    /// - Parameters:
    ///   - elf: the image.
    ///   - map: what the linker says of it: which object has which addresses.
    ///   - directory: where the plugin is compiled to.
    /// - Returns: nil if the image does not tell where its harness is.
    init?(_ elf: ELFImage, map: String, directory: FilePath) async throws {
        guard let code = elf.text, let inits = elf.address(of: "__start_inits"), let benches = elf.address(of: "__stop_kbenches"),
            inits < benches
        else { return nil }
        text = (Range(first: code.address, size: UInt64(code.size)), code.offset)
        // The first and the last bytes of bss are for a loader to clear, and are nobody's after that.
        let canaries = ["harness_bss_head", "harness_bss_tail"].compactMap(elf.address)
        trusted = []
        watched = [Range(first: inits, size: benches - inits)]
        for (object, range) in Self.pieces(of: map) where range.first >= Self.base {
            let isCode = range.first - text.range.first < text.range.size
            if isCode {
                trusted.append(range)
            } else if object.hasPrefix(Self.harness), !object.hasPrefix(Self.stubs), range.first >= inits,
                !canaries.contains(range.first)
            {
                watched.append(range)
            }
        }
        guard !trusted.isEmpty else { return nil }
        (trusted, watched) = (Self.joined(trusted), Self.joined(watched))
        names = elf.code
        plugin = try await QEMUPlugin.compile(Self.source, to: directory)
    }

    private static let harness = "build/obj/harness/", acceptance = "build/obj/acceptance/"
    /// Where a kernel has no stack of its own yet, it uses a stub's.
    private static let stubs = "build/obj/harness/stub"

    /// What of these objects the linker has put where: lines that end in address, size and object.
    private static func pieces(of map: String) -> [(object: String, range: Range)] {
        map.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").suffix(3).map(String.init)
            guard words.count == 3, words[2].hasPrefix(harness) || words[2].hasPrefix(acceptance),
                let first = words[0].dropping("0x").flatMap({ UInt64($0, radix: 16) }),
                let size = words[1].dropping("0x").flatMap({ UInt64($0, radix: 16) }), size > 0
            else { return nil }
            return (words[2], Range(first: first, size: size))
        }
    }

    /// Ascending, and those that lie side by side as one, with what fills the gap between two objects.
    private static func joined(_ ranges: [Range]) -> [Range] {
        let alignment: UInt64 = 16
        var result: [Range] = []
        for range in ranges.sorted(by: { $0.first < $1.first }) {
            if let last = result.last, range.first <= last.first + last.size + alignment {
                result[result.count - 1].size = max(last.size, range.first + range.size - last.first)
            } else {
                result.append(range)
            }
        }
        return result
    }

    /// What QEMU is to be told.
    ///
    /// - Parameters:
    ///   - image: where QEMU finds the image.
    ///   - output: the file that the plugin writes.
    func arguments(plugin: String, image: String, output: String) -> [String] {
        let code = [
            "image=\(image)", "offset=\(String(text.offset, radix: 16))", "at=\(String(text.range.first, radix: 16))",
            "size=\(String(text.range.size, radix: 16))",
        ]
        let ranges = trusted.map { "trusted=\($0.text())" } + watched.map { "watched=\($0.text(less: Self.base))" }
        return ["-plugin", (["file=\(plugin)", "to=\(output)"] + code + ranges).joined(separator: ",")]
    }

    /// What the plugin has seen, in words; empty if all was well.
    func findings(_ output: [UInt8]) -> [String] {
        String(decoding: output, as: UTF8.self).split(separator: "\n").map { line in
            let words = line.split(separator: " ")
            let place = words.count > 1 ? UInt64(words[1], radix: 16).map { function(at: $0) } ?? "" : ""
            return words.first == "wrote" ? "\(place) writes to the harness's memory" : "the code of \(place) is not the image's"
        }
    }

    private func function(at address: UInt64) -> String {
        names.last { $0.address <= address }?.name ?? String(address, radix: 16)
    }
}
