import AutonMessages

/// The sections of an ELF64 file, little-endian. It may have been made to mislead: nothing in it is followed out of its bytes, and
/// symbols are told of none but the linker's table.
package struct ELFImage {
    struct Section: Equatable {
        var name: String
        /// Bytes in memory; of those that are not in the file too.
        var size: Int
        /// Where it is when the image runs.
        fileprivate var address: UInt64
        /// Whether it takes memory when the image runs.
        var isLoaded: Bool
        /// Where it is in the file, if it is there.
        fileprivate var offset: Int

        /// Where its bytes are in a file of so many, if they are there.
        fileprivate func contents(_ count: Int) -> Range<Int>? {
            offset <= count && size <= count - offset ? offset..<offset + size : nil
        }
    }

    /// In the file's order.
    let sections: [Section]
    private let bytes: [UInt8]
    /// Where the symbols' entries are, and their names; nil unless there is one table, and what it says can be found.
    private let symbolTable: (entries: Range<Int>, names: Range<Int>)?

    private static let headerSize = 64, sectionSize = 64
    private static let longestName = 64
    /// SHT_SYMTAB: whatever its name is.
    private static let typeOfSymbols = 2

    /// Nil for what is no such file, or has no sections that can be read.
    package init?(_ bytes: [UInt8]) {
        func number(_ offset: Int, _ count: Int) -> Int? { Self.number(bytes, offset, count).flatMap { Int(exactly: $0) } }
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
        var sections: [Section] = [], tables: [(section: Int, names: Int)] = []
        for header in stride(from: table, to: table + count * entry, by: entry) {
            guard let start = number(header, 4), let name = name(start), let flags = number(header + 8, 8),
                let address = Self.number(bytes, header + 0x10, 8), let offset = number(header + 0x18, 8),
                let size = number(header + 0x20, 8), let type = number(header + 4, 4), let link = number(header + 0x28, 4)
            else { return nil }
            if type == Self.typeOfSymbols { tables.append((sections.count, link)) }
            sections.append(Section(name: name, size: size, address: address, isLoaded: flags & 2 != 0, offset: offset))
        }
        self.sections = sections
        self.bytes = bytes
        let place = { (section: Int) in sections.indices.contains(section) ? sections[section].contents(bytes.count) : nil }
        symbolTable = (tables.count == 1 ? tables[0] : nil).flatMap { found in
            place(found.section).flatMap { entries in place(found.names).map { (entries, $0) } }
        }
    }

    /// Why nothing can be said of it; nil for an image as the linker makes them, with one section of each name, and one table of symbols.
    var fault: String? {
        var names: Set<String> = []
        if let twice = sections.first(where: { !names.insert($0.name).inserted }) {
            return "the image has several sections \(twice.name)"
        }
        return symbolTable == nil ? "the image does not have one table of symbols" : nil
    }

    /// Names that stand for one thing in a file and for another everywhere else, with the file's name: functions, variables and labels; numbers
    /// are none. As the linker has it, a file's own symbols follow its name.
    var shadows: [(name: String, file: String)] {
        let globals = globals
        var file = "", found: [(name: String, file: String)] = []
        for entry in symbols(where: { bytes[$0 + 4] <= 2 || bytes[$0 + 4] == Self.file }) {
            let name = name(at: entry) ?? ""
            if bytes[entry + 4] == Self.file {
                file = name
            } else if bytes[entry + 7] != 0xff, bytes[entry + 6] != 0 || bytes[entry + 7] != 0, globals.contains(name) {
                // SHN_UNDEF is 0, from 0xff00 on there are no sections.
                found.append((name, file))
            }
        }
        return found
    }

    /// STT_FILE, which is local.
    private static let file: UInt8 = 4

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64? {
        guard offset >= 0, offset <= bytes.count - count else { return nil }
        return bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The value of a global symbol. There is one of each name at most, or it would not have been linked.
    func address(of symbol: String) -> UInt64? {
        symbols { bytes[$0 + 4] >> 4 == 1 && name(at: $0, is: symbol) }.first.flatMap { Self.number(bytes, $0 + 8, 8) }
    }

    /// What lies between two global symbols; nil if nothing does.
    func range(_ first: String, _ end: String) -> Range<UInt64>? {
        guard let first = address(of: first), let end = address(of: end), first < end else { return nil }
        return first..<end
    }

    /// Where a function of C is. There may be several of a name that are local to their files; then it is any of them.
    func place(of function: String) -> (address: UInt64, size: UInt64)? {
        symbols { bytes[$0 + 4] & 15 == 2 && name(at: $0, is: function) }.first.flatMap { entry in
            guard let address = Self.number(bytes, entry + 8, 8), let size = Self.number(bytes, entry + 16, 8) else { return nil }
            return (address, size)
        }
    }

    /// Code by the address that it begins at, in ascending order: functions of C, labels of assembly.
    var code: [(address: UInt64, name: String)] { named { [0, 2].contains($0) } }

    /// The same without labels of assembly that do not say that they are functions.
    var functions: [(address: UInt64, name: String)] { named { $0 == 2 } }

    private func named(types: (UInt8) -> Bool) -> [(address: UInt64, name: String)] {
        let entries = symbols { types(bytes[$0 + 4] & 15) && bytes[$0 + 6] != 0 }
        return entries.compactMap { entry in
            guard let address = Self.number(bytes, entry + 8, 8), let text = name(at: entry) else { return nil }
            let name = Text.lines(text).first ?? ""
            // The linker's marks are no functions, and lie where others begin.
            return name.hasPrefix("__") || name.isEmpty ? nil : (address, name)
        }.sorted { ($0.address, $0.name) < ($1.address, $1.name) }
    }

    /// The names that are those of all files together.
    package var globals: Set<String> {
        Set(symbols { bytes[$0 + 4] >> 4 == 1 }.compactMap { name(at: $0) })
    }

    /// Where the entries of the symbol table are for which `isMeant` says so, and which section they are of can be told.
    private func symbols(where isMeant: (Int) -> Bool) -> [Int] {
        let entrySize = 24
        guard let table = symbolTable?.entries else { return [] }
        return stride(from: table.lowerBound, through: table.upperBound - entrySize, by: entrySize).filter(isMeant)
    }

    private func name(at entry: Int, is symbol: String) -> Bool {
        guard let text = bytesOfName(at: entry) else { return false }
        return text.starts(with: symbol.utf8) && text.dropFirst(symbol.utf8.count).first == 0
    }

    private func name(at entry: Int) -> String? {
        bytesOfName(at: entry).map { String(decoding: $0.prefix(100).prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// From where a symbol's name begins to the end of all names.
    private func bytesOfName(at entry: Int) -> ArraySlice<UInt8>? {
        guard let strings = symbolTable?.names, let start = Self.number(bytes, entry, 4), start < strings.count else {
            return nil
        }
        return bytes[(strings.lowerBound + Int(start))..<strings.upperBound]
    }

    /// The code: where it is when the image runs, and in the file.
    var text: (address: UInt64, size: Int, offset: Int)? {
        sections.first { $0.name == ".text" }.flatMap { section in
            section.contents(bytes.count).map { (section.address, $0.count, $0.lowerBound) }
        }
    }

    static let multiboot2 = ".multiboot2"

    /// Whether GRUB, or a loader of the tree's own, can find a Multiboot2 header where kernel.ld puts it.
    var hasMultiboot2: Bool { sections.contains { $0.name == Self.multiboot2 && $0.isLoaded && $0.size > 0 } }

    /// What takes memory.
    package var sizes: [SectionSize] {
        sections.filter { $0.isLoaded && $0.size > 0 }.map { SectionSize(name: $0.name, bytes: $0.size) }
    }
}
