/// What QEMU's log of interrupts (`-d int,cpu_reset`) says of a triple fault.
struct InterruptLog {
    struct Exception: Equatable {
        var vector: UInt8
        var errorCode: UInt64
        var instruction: UInt64
        /// Of a page fault, what CR2 holds.
        var faultAddress: UInt64?
    }

    /// Whether the processor gave up; else the machine was reset on purpose.
    private(set) var isTripleFault = false
    /// The exceptions at the instruction that ended it all: the first one, then those that delivering it raised.
    private(set) var exceptions: [Exception] = []

    /// - Parameter text: the end of the log; whole lines are not needed but for the last exceptions'.
    init(_ text: String) {
        var run: [Exception] = []
        for line in text.utf8.split(separator: UInt8(ascii: "\n")).map({ Substring($0) }) {
            if line.hasPrefix("Triple fault") {
                isTripleFault = true
                exceptions = run
            } else if let exception = Self.exception(line) {
                // Delivery that fails leaves the instruction pointer where it was.
                if run.last?.instruction != exception.instruction { run = [] }
                run = run.suffix(3) + [exception]
            }
        }
    }

    /// `     0: v=0e e=0002 i=0 cpl=0 IP=0008:ffffffff80001234 pc=ffffffff80001234 SP=0010:ffffffff80012f50 CR2=0000000000000000`
    private static func exception(_ line: Substring) -> Exception? {
        guard line.contains(": v=") else { return nil }
        var values: [Substring: Substring] = [:]
        for word in line.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard let vector = values["v"].flatMap({ UInt8($0, radix: 16) }),
            let code = values["e"].flatMap({ UInt64($0, radix: 16) }),
            let instruction = values["pc"].flatMap({ UInt64($0, radix: 16) })
        else { return nil }
        return Exception(
            vector: vector, errorCode: code, instruction: instruction,
            faultAddress: values["CR2"].flatMap { UInt64($0, radix: 16) })
    }
}

extension InterruptLog.Exception: CustomStringConvertible {
    private static let names = [
        "divide error (#DE)", "debug (#DB)", "non-maskable interrupt", "breakpoint (#BP)", "overflow (#OF)", "bound range (#BR)",
        "invalid opcode (#UD)", "device not available (#NM)", "double fault (#DF)", "coprocessor overrun", "invalid TSS (#TS)",
        "segment not present (#NP)", "stack fault (#SS)", "general protection (#GP)", "page fault (#PF)", "vector 15",
        "x87 error (#MF)", "alignment check (#AC)", "machine check (#MC)", "SIMD error (#XM)",
    ]
    /// Those that push an error code.
    private static let withCode: Set<UInt8> = [8, 10, 11, 12, 13, 14, 17]

    package var description: String {
        let name = Int(vector) < Self.names.count ? Self.names[Int(vector)] : "interrupt \(vector)"
        guard Self.withCode.contains(vector) else { return name }
        if let faultAddress, vector == 14 {
            // Without the no-execute bit the processor does not tell a fetch from a read.
            let access =
                errorCode & 16 != 0 || faultAddress == instruction ? "fetch from" : errorCode & 2 != 0 ? "write to" : "read of"
            let why = errorCode & 8 != 0 ? "reserved bit set" : errorCode & 1 != 0 ? "not allowed" : "not present"
            return "\(name), error code \(hex(errorCode)): \(access) \(hex(faultAddress)), \(why)"
        }
        return "\(name), error code \(hex(errorCode))"
    }
}

/// `0x1f`
func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
