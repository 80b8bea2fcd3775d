/// A machine that kernels are booted on: by which path, on how many processors, with how much memory.
///
/// Settings and verdicts call it by its name: the path, then what is not as usual, as in `pvh`, `pvh-smp4`, `disk-64m`.
package struct Machine: Sendable, Equatable {
    /// How a kernel gets into memory.
    package enum Path: String, Sendable, CaseIterable {
        /// QEMU and qboot load `build/kernel.elf` and enter it by its PVH note: the fast path.
        case pvh
        /// SeaBIOS loads the tree's own boot sector from a disk, `build/disk.img`.
        case disk
        /// SeaBIOS loads GRUB from a CD, `build/kernel.iso`, and that the kernel by its Multiboot2 header.
        case iso
    }

    package var path = Path.pvh
    package var processors = 1
    /// MiB.
    package var memory = 128
    /// Time is counted in instructions, one a nanosecond of the guest's, so that a boot goes the same way every time.
    package var countsInstructions = false

    package init(_ path: Path = .pvh, processors: Int = 1, memory: Int = 128) {
        self.path = path
        self.processors = processors
        self.memory = memory
    }

    /// All that is told apart: each path, one and four processors, the least and the most memory.
    package static let all = [
        Machine(), Machine(processors: 4), Machine(memory: 64), Machine(memory: 4096), Machine(.disk), Machine(.iso),
    ]

    /// Whether the kernel is given a module, the image itself: somewhere that has to be done.
    package var hasModule: Bool { path == .pvh && memory == 4096 }
    /// Whether the kernel is told to watch its memory (`slab.debug`): where there is least of it to waste.
    package var debugsMemory: Bool { path == .pvh && memory == 64 }

    package var name: String {
        path.rawValue + (processors == 1 ? "" : "-smp\(processors)")
            + (memory == 128 ? "" : memory % 1024 == 0 ? "-\(memory >> 10)g" : "-\(memory)m")
    }

    /// Nil for what is no machine's name, or another one's than those of 1 to 16 processors and 64 MiB to 4 GiB.
    package init?(named name: String) {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        guard let path = Path(rawValue: parts[0]) else { return nil }
        self.init(path)
        for part in parts.dropFirst() {
            let digits = part.filter { $0.isASCII && $0.isNumber }
            guard digits.count < 6, let number = Int(digits) else { return nil }
            switch part {
            case "smp\(number)": processors = number
            case "\(number)m": memory = number
            case "\(number)g": memory = number << 10
            default: return nil
            }
        }
        // A machine has one name only, so that a list can be seen to have it once.
        guard (1...16).contains(processors), (64...4096).contains(memory), self.name == name else { return nil }
    }
}
