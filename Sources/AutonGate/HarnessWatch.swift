import AutonKit
import SystemPackage

/// Sees from outside of the machine that nobody but the harness and the acceptance tests writes to the harness's memory, that
/// nobody writes to what is constant, and that their code is the image's when it is executed: a plugin of QEMU's looks
/// on (data/watch.c).
///
/// What it does not see: what a disk's controller writes, where there is one, or the processor itself when it is interrupted; a page
/// that was another's and is mapped anew without a flush.
struct HarnessWatch: Sendable {
    static var source: FilePath { Share.data("watch.c") }
    /// The compiled plugin's name, and that of the file that it writes.
    static let plugin = "watch.so", output = "watch"
    /// KERNEL_BASE of kernel.ld: virtual less physical address.
    private static let base: UInt64 = 0xffff_ffff_8000_0000

    /// What the plugin is told of the image.
    private let words: [String]
    private let names: [(address: UInt64, name: String)]

    /// Nil if the image does not tell where its harness is: by symbols that kernel.ld makes, and nobody else can.
    init?(_ elf: ELFImage) {
        func range(_ first: String, _ end: String) -> String? {
            elf.range(first, end).map(QEMUPlugin.words)
        }
        guard let code = elf.text, let harness = range("__harness_text_start", "__harness_text_end"),
            let data = range("__harness_data_start", "__harness_data_end"),
            let bss = range("__harness_bss_start", "__harness_bss_end"),
            let constants = range("__text_start", "__rodata_end")
        else { return nil }
        // A tree may have no acceptance tests that are switched on yet.
        let acceptance = range("__acceptance_text_start", "__acceptance_text_end")
        words =
            ["trusted=\(harness)", "own=\(harness)", "watched=\(data)", "watched=\(bss)", "watched=\(constants)"]
            + (acceptance.map { ["trusted=\($0)"] } ?? [])
            + [("base", Self.base), ("offset", UInt64(code.offset)), ("at", code.address), ("size", UInt64(code.size))].map {
                "\($0)=\(String($1, radix: 16))"
            }
        names = elf.code
    }

    /// What QEMU is to be told.
    ///
    /// - Parameters:
    ///   - image: where QEMU finds the image.
    ///   - output: the file that the plugin writes.
    ///   - others: what it is to be told besides.
    func arguments(plugin: String, image: String, output: String, and others: [String]) -> [String] {
        ["-plugin", (["file=\(plugin)", "to=\(output)", "image=\(image)"] + words + others).joined(separator: ",")]
    }

    /// What the plugin has seen, in words; empty if all was well to the end.
    func findings(_ output: [UInt8]) -> [String] {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        let findings = lines.dropLast(lines.last == "end" ? 1 : 0).map { line in
            let words = line.split(separator: " ").map(String.init), pc = words.count > 1 ? UInt64(words[1], radix: 16) : nil
            let place = pc.map { Profile.function(at: $0, in: names) } ?? ""
            switch words.first {
            case "wrote": return "\(place) writes to what is the harness's, or constant, at \(words.last ?? "")"
            case "moved": return "the harness's memory is not where \(place) expects it"
            default: return "the code of \(place) is not the image's"
            }
        }
        return findings.isEmpty && lines.last != "end" ? ["the watch over the harness did not come to its end"] : findings
    }
}
