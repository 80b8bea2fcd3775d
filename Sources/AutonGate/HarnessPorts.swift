/// The I/O ports that are the harness's alone.
enum HarnessPorts {
    /// The second UART, with the report; QEMU's debug-exit; its firmware configuration, with the nonce, and that one's DMA.
    static let ranges = [0x2f8..<0x300, 0xf4..<0xf8, 0x510..<0x51c]
    static let all = ranges.reduce(into: Set<Int>()) { $0.formUnion($1) }
    /// Those that are hardly ever another number, wherever they stand. (0x2ff is also a model-specific register, 0xf4 the
    /// code of `hlt`.)
    static let telling = Set(0x2f8...0x2fe).union([0x510, 0x511, 0x514])

    /// The ports among what an operand of `in` or `out` is known to be.
    static func among(_ value: Constants.Value) -> [Int] {
        value.known.map { $0 & 0xffff }.filter(all.contains).sorted()
    }

    /// Whether a name says that its number is a port.
    static func isNameOfPort(_ name: String) -> Bool {
        let name = name.uppercased()
        return ["PORT", "COM2", "UART", "SERIAL", "IOBASE", "IO_BASE", "DEBUG_EXIT", "DEBUGEXIT", "FW_CFG", "FWCFG"].contains(
            where: name.contains)
    }

    static func shown(_ port: Int) -> String { "0x" + String(port, radix: 16) }

    private static let instructions: Set<String> = [
        "in", "inb", "inw", "inl", "out", "outb", "outw", "outl", "insb", "insw", "insl", "insd", "outsb", "outsw", "outsl",
        "outsd",
        "ins", "outs",
    ]

    static func isInstruction(_ word: String) -> Bool { instructions.contains(word.lowercased()) }
}
