import AutonMessages

/// The sections of an ELF64 file, little-endian. It may have been made to mislead: nothing in it is followed out of its bytes.
struct ELFImage {
    struct Section: Equatable {
        var name: String
        /// Bytes in memory; of those that are not in the file too.
        var size: Int
        /// Whether it takes memory when the image runs.
        var isLoaded: Bool
    }

    /// In the file's order.
    let sections: [Section]

    private static let headerSize = 64, sectionSize = 64
    private static let longestName = 64

    /// Nil for what is no such file, or has no sections that can be read.
    init?(_ bytes: [UInt8]) {
        func number(_ offset: Int, _ count: Int) -> Int? {
            guard offset >= 0, offset <= bytes.count - count else { return nil }
            var value: UInt64 = 0
            for byte in bytes[offset..<offset + count].reversed() { value = value << 8 | UInt64(byte) }
            return Int(exactly: value)
        }
        guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]),
            let table = number(0x28, 8), let entry = number(0x3a, 2), let count = number(0x3c, 2), let names = number(0x3e, 2),
            entry == Self.sectionSize, names < count, table <= bytes.count, count * entry <= bytes.count - table,
            let strings = number(table + names * entry + 0x18, 8), let length = number(table + names * entry + 0x20, 8),
            strings <= bytes.count, length <= bytes.count - strings
        else { return nil }
        func name(_ offset: Int) -> String? {
            guard offset < length else { return nil }
            let text = bytes[strings + offset..<strings + length].prefix(Self.longestName).prefix { $0 != 0 }
            return Text.lines(String(decoding: text, as: UTF8.self)).first ?? ""
        }
        var sections: [Section] = []
        for header in stride(from: table, to: table + count * entry, by: entry) {
            guard let start = number(header, 4), let name = name(start), let flags = number(header + 8, 8),
                let size = number(header + 0x20, 8)
            else { return nil }
            sections.append(Section(name: name, size: size, isLoaded: flags & 2 != 0))
        }
        self.sections = sections
    }

    /// Whether GRUB, or a loader of the tree's own, can find a Multiboot2 header where kernel.ld puts it.
    var hasMultiboot2: Bool { sections.contains { $0.name == ".multiboot2" && $0.isLoaded && $0.size > 0 } }

    /// What takes memory.
    var sizes: [SectionSize] {
        sections.filter { $0.isLoaded && $0.size > 0 }.map { SectionSize(name: $0.name, bytes: $0.size) }
    }
}
