import AutonKit
import Glibc
import SystemPackage

/// Sees from outside of the machine what the harness sends and which tests it calls: QEMU logs the processor's registers
/// whenever it comes to two of the harness's instructions, the one after a byte was put on COM2, and the one that jumps to a
/// test or benchmark. A byte of the report that was not seen there was sent by somebody else; a test that was not
/// jumped to did not run.
///
/// What this does not see: code that jumps into the harness, which `HarnessFlow` does. Who writes to it is seen by `HarnessWatch`.
struct Witness: Sendable {
    /// What the log tells, in its order.
    enum Event: Equatable, Sendable {
        case sent(UInt8)
        /// The function's address.
        case called(UInt64)
    }

    private var sent: UInt64
    private var calls: UInt64
    /// Addresses of tests and benchmarks, by their symbols.
    private var functions: [String: UInt64]

    init(sent: UInt64, calls: UInt64, functions: [String: UInt64]) {
        self.sent = sent
        self.calls = calls
        self.functions = functions
    }

    /// Nil if the image's harness does not tell where to look.
    init?(_ elf: ELFImage) {
        guard let sent = elf.address(of: "report_sent"), let calls = elf.address(of: "harness_calls") else { return nil }
        let tests = elf.code.filter { $0.name.hasPrefix("ktest_") || $0.name.hasPrefix("kbench_") }
        self.init(
            sent: sent, calls: calls,
            functions: Dictionary(tests.map { ($0.name, $0.address) }, uniquingKeysWith: { first, _ in first }))
    }

    /// What QEMU is to be told; `log` is the file that it writes.
    func arguments(log: String) -> [String] {
        let places = [sent, calls].map { "0x\(String($0, radix: 16))+1" }
        // Two commas are one to QEMU where a comma ends something; not here.
        return ["-d", "cpu", "-D", log, "-dfilter", places.joined(separator: ",")]
    }

    /// What happened there: RAX holds the byte or the address.
    func events(in log: [UInt8]) -> [Event] {
        let accumulator = Array("RAX=".utf8), instruction = Array("RIP=".utf8)
        var events: [Event] = []
        log.withUnsafeBytes { log in
            var index = 0
            while let rax = Self.number(after: accumulator, in: log, &index),
                let rip = Self.number(after: instruction, in: log, &index)
            {
                if rip == sent { events.append(.sent(UInt8(truncatingIfNeeded: rax))) }
                if rip == calls { events.append(.called(rax)) }
            }
        }
        return events
    }

    /// The number of sixteen digits behind the next such label.
    private static func number(after label: [UInt8], in log: UnsafeRawBufferPointer, _ index: inout Int) -> UInt64? {
        guard let start = log.baseAddress else { return nil }
        // By the C library, which takes many bytes at once: the log has a kilobyte for each byte that was sent.
        while let found = memchr(start + index, Int32(label[0]), log.count - index) {
            index = UnsafeRawPointer(found) - start + label.count
            guard index + 16 <= log.count else { return nil }
            guard memcmp(found, label, label.count) == 0 else {
                index -= label.count - 1
                continue
            }
            if let number = UInt64(String(decoding: log[index..<index + 16], as: UTF8.self), radix: 16) { return number }
        }
        return nil
    }

    /// Whether the report is what the harness sent, and each result in it that of the test it names.
    ///
    /// Where QEMU was interrupted before it went on, it logs the same again: a byte may have been seen more often in a row
    /// than it was sent, but not less.
    func origin(of report: [UInt8], _ events: [Event]) -> BootReport.Origin {
        var count = 0, line: [UInt8] = []
        var last: Event?
        var running: (name: String, symbol: String, wasCalled: Bool)?
        for event in events {
            defer { last = event }
            switch event {
            case .sent(let byte) where count < report.count && report[count] == byte:
                count += 1
                if byte != UInt8(ascii: "\n") {
                    line.append(byte)
                    continue
                }
                let text = String(decoding: line, as: UTF8.self)
                line = []
                if let begun = Self.begun(text) {
                    running = (begun.name, begun.symbol, false)
                } else if let ended = running, Self.ends(ended.name, text) {
                    guard ended.wasCalled else { return .impostor(ended.name) }
                    running = nil
                }
            case .sent: guard event == last else { return .foreign(after: count) }
            case .called(let address):
                guard let test = running, functions[test.symbol] == address else { return .impostor(running?.name ?? "nothing") }
                running?.wasCalled = true
            }
        }
        return count == report.count ? .harness : .foreign(after: count)
    }

    /// The test or benchmark that the line says is called now.
    private static func begun(_ line: String) -> (name: String, symbol: String)? {
        for (prefix, macro) in [("# run ", "ktest_"), ("# bench ", "kbench_")] {
            if let name = line.dropping(prefix), !name.contains(" "), let dot = name.firstIndex(of: ".") {
                return (name, macro + name[..<dot] + "__" + name[name.index(after: dot)...])
            }
        }
        return nil
    }

    /// Whether the line has what came of it.
    private static func ends(_ name: String, _ line: String) -> Bool {
        let words = line.split(separator: " ", maxSplits: 4).map(String.init)
        switch words.first {
        case "ok": return words.count > 2 && words[2] == name
        case "not": return words.count > 3 && words[3] == name
        case "#": return words.count == 4 && words[1] == "bench" && words[2] == name
        default: return false
        }
    }
}
