/// Where a stopped machine's first processor is.
struct MachineState: Sendable {
    var instruction: UInt64
    var stack: UInt64
    /// CR2: the address of the last page fault.
    var faultAddress: UInt64
    var isHalted: Bool
    var interruptsEnabled: Bool
    /// By frame pointers, innermost first, as far as they make sense.
    var returnAddresses: [UInt64] = []
    /// If the word on top of the stack follows a call instruction: the word, and what is called. It is the innermost
    /// return address of a function that has no frame.
    var call: (from: UInt64, to: UInt64)?

    private static let deepest = 16

    /// What the monitor's `info registers` prints; nil if it is nothing such.
    init?(registers text: String) {
        var values: [Substring: UInt64] = [:]
        // Without `-a` there is one processor in it.
        for word in text.split(whereSeparator: { $0 == " " || $0.isNewline }) {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2, values[parts[0]] == nil { values[parts[0]] = UInt64(parts[1], radix: 16) }
        }
        guard let instruction = values["RIP"] ?? values["EIP"], let flags = values["RFL"] ?? values["EFL"] else { return nil }
        self.instruction = instruction
        stack = values["RSP"] ?? values["ESP"] ?? 0
        faultAddress = values["CR2"] ?? 0
        isHalted = values["HLT"] == 1
        interruptsEnabled = flags & 0x200 != 0
        frame = values["RBP"] ?? values["EBP"] ?? 0
    }

    var allReturnAddresses: [UInt64] { returnAddresses + (call.map { [$0.from] } ?? []) }

    private var frame: UInt64

    /// The machine's, which must be stopped; nil if the monitor does not answer to the end.
    static func read(_ monitor: Monitor) -> MachineState? {
        guard let text = monitor.print("info registers"), var state = MachineState(registers: text) else { return nil }
        // Where there is no memory, the monitor says so, in no words.
        var frame = state.frame
        while state.returnAddresses.count < deepest, frame % 8 == 0, frame != 0 {
            guard let words = monitor.print("x/2gx \(hex(frame))").map(words) else { return nil }
            guard words.count == 2 else { break }
            state.returnAddresses.append(words[1])
            // A frame is above the one that it called; whatever else stands there is none.
            guard words[0] > frame else { break }
            frame = words[0]
        }
        guard let top = monitor.print("x/1gx \(hex(state.stack))").map(words) else { return nil }
        guard let from = top.first, from > 5 else { return state }
        guard let code = monitor.print("x/5bx \(hex(from - 5))").map(words) else { return nil }
        if code.count == 5, code[0] == 0xe8 {
            let offset = code[1...].reversed().reduce(0) { $0 << 8 | UInt32(truncatingIfNeeded: $1) }
            state.call = (from: from, to: from &+ UInt64(bitPattern: Int64(Int32(bitPattern: offset))))
        }
        return state
    }

    /// `ffffffff80012f50: 0xffffffff80012f70 0xffffffff80001234`; nothing if the memory cannot be read.
    private static func words(_ text: String) -> [UInt64] {
        text.split(whereSeparator: { $0 == " " || $0.isNewline }).compactMap { word in
            word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : nil
        }
    }
}
