import AutonKit
import SystemPackage

/// Names and source lines of addresses in a kernel's image.
///
/// The image is as hostile as its kernel: addr2line(1) reads it in the sandbox, and what it cannot tell stays a number.
struct Symbols: Sendable {
    /// Bytes of what addr2line says.
    private static let longest = 4 << 20

    private var names: [UInt64: String] = [:]
    private var starts: [UInt64: UInt64] = [:]
    private var lines: [UInt64: [String]] = [:]

    /// - Parameters:
    ///   - addresses: to be looked up.
    ///   - returns: those of them that calls come back to: their line is that of the call.
    ///   - directory: any that the sandbox may look into.
    init(of addresses: [UInt64], returns: Set<UInt64>, image: FilePath, directory: FilePath) async {
        guard !addresses.isEmpty else { return }
        var sandbox = Sandbox(directory)
        sandbox.isWritable = false
        sandbox.readable = [(outside: image, inside: "/kernel.elf")]
        sandbox.limits.seconds = 10
        sandbox.limits.output = Self.longest
        let unique = Array(Set(addresses)).sorted()
        // A call that does not return may be its function's last instruction.
        let asked = unique.map { returns.contains($0) ? $0 &- 1 : $0 }
        let inside = sandbox.inside(image)
        async let found = try? sandbox.run("addr2line", ["-a", "-f", "-i", "-e", inside] + asked.map(hex))
        let symbols = (try? Files.read(image)).flatMap { ELFImage($0) }?.code ?? []
        for (address, asked) in zip(unique, asked) {
            guard let symbol = symbols.last(where: { $0.address <= asked }), asked - symbol.address < 1 << 16 else { continue }
            starts[address] = symbol.address
            names[address] = "\(symbol.name.prefix(100))+\(hex(address - symbol.address))"
        }
        if let found = await found { lines = Self.places(Text.lines(found.output.text), of: unique) }
    }

    /// `lock+0x1c (mm/frames.c:40)`; `lock+0x1c (add in mm/list.c:7, mm/frames.c:40)` where `add` was inlined; the
    /// number alone if it is nowhere in the image.
    func describe(_ address: UInt64) -> String {
        guard let name = names[address] else { return hex(address) + ", not in the kernel's code" }
        let places = lines[address] ?? []
        return places.isEmpty ? name : "\(name) (\(places.joined(separator: ", ")))"
    }

    func isKnown(_ address: UInt64) -> Bool { names[address] != nil }

    /// Where the function begins that the address is in.
    func start(_ address: UInt64) -> UInt64? { starts[address] }

    /// Without the offset.
    func function(_ address: UInt64) -> String? { names[address]?.split(separator: "+").first.map(String.init) }

    /// Of several: `poll (drivers/serial.c:40; drivers/serial.c:41)`, a line a function.
    func describe(_ addresses: Set<UInt64>) -> [String] {
        Dictionary(grouping: addresses) { function($0) ?? hex($0) }.sorted { $0.key < $1.key }.map { function, addresses in
            let places = Set(addresses.flatMap { lines[$0] ?? [] }).sorted()
            return places.isEmpty ? function : "\(function) (\(Text.list(places, 4)))"
        }
    }

    /// addr2line prints for each address itself, then a function and its place in turns, innermost first.
    private static func places(_ lines: [String], of addresses: [UInt64]) -> [UInt64: [String]] {
        var groups: [[String]] = []
        for line in lines {
            if line.hasPrefix("0x") { groups.append([]) } else if !groups.isEmpty { groups[groups.count - 1].append(line) }
        }
        guard groups.count == addresses.count else { return [:] }
        var places: [UInt64: [String]] = [:]
        for (address, group) in zip(addresses, groups) {
            let pairs = stride(from: 0, to: group.count - 1, by: 2).map { (function: group[$0], place: place(group[$0 + 1])) }
            let known = pairs.filter { $0.place != nil }.prefix(4)
            places[address] = known.enumerated().map { index, pair in
                index + 1 < known.count ? "\(pair.function.prefix(60)) in \(pair.place ?? "")" : pair.place ?? ""
            }
        }
        return places
    }

    /// `mm/frames.c:40` of `./mm/frames.c:40 (discriminator 3)`; nil if it is not known.
    private static func place(_ text: String) -> String? {
        guard !text.hasPrefix("?"), !text.hasSuffix(":?"), !text.hasSuffix(":0") else { return nil }
        let place = String(text.prefix { $0 != " " }).replacing("\(Sandbox.mountPoint)/", with: "", maxReplacements: 1)
        return String((place.dropping("./") ?? place).prefix(120))
    }
}
