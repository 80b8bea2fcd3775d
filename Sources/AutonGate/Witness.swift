import AutonKit

/// Sees from outside of the machine what the harness sends, which tests it calls, and which assertions do not hold: the plugin that watches over the harness
/// (data/watch.c) tells where the processor writes at the one instruction, just before a byte is put on COM2, and reads at
/// the other, before a test or benchmark is jumped to. A byte of the report that was not seen there was sent by somebody
/// else; a test that was not jumped to did not run; one that passes after an assertion did not hold was kept from telling it.
///
/// What this does not see: code that jumps into the harness, which `HarnessFlow` does. Who writes to it is seen by `HarnessWatch`.
struct Witness: Sendable {
    /// What the plugin tells, in its order.
    enum Event: Equatable, Sendable {
        case sent(UInt8)
        /// The function's address.
        case called(UInt64)
        /// An assertion does not hold.
        case failed
    }

    /// The name of the file that the plugin writes.
    static let output = "seen"

    /// What the plugin is told of the image.
    private let words: [String]
    /// Addresses of tests and benchmarks, by their symbols.
    private let functions: [String: UInt64]

    init(words: [String] = [], functions: [String: UInt64]) {
        self.words = words
        self.functions = functions
    }

    /// Nil if the image's harness does not tell where to look.
    init?(_ elf: ELFImage) {
        guard let sent = elf.address(of: "report_sent"), let table = elf.address(of: "report_bytes"),
            let called = elf.address(of: "harness_called")
        else { return nil }
        let tests = elf.code.filter { $0.name.hasPrefix("ktest_") || $0.name.hasPrefix("kbench_") }
        let failing = HarnessNames.ofAssertions.filter { $0.hasPrefix("ktest_fail") }.sorted().compactMap { elf.address(of: $0) }
            .map { ("failing", $0) }
        self.init(
            words: ([("sent", sent), ("table", table), ("called", called)] + failing).map { "\($0)=\(String($1, radix: 16))" },
            functions: Dictionary(tests.map { ($0.name, $0.address) }, uniquingKeysWith: { first, _ in first }))
    }

    /// What the plugin is to be told; `output` is the file that it writes.
    func arguments(output: String) -> [String] { words + ["seen=\(output)"] }

    /// What happened there: a line for each event, a byte's two digits, an address's sixteen, or the word for a failure. What is none of these is none.
    static func events(in output: [UInt8]) -> [Event] {
        output.split(separator: UInt8(ascii: "\n")).compactMap { line in
            if line.elementsEqual("failed".utf8) { return .failed }
            var value: UInt64 = 0
            for digit in line {
                guard let digit = Character(UnicodeScalar(digit)).hexDigitValue else { return nil }
                value = value << 4 | UInt64(digit)
            }
            return line.count == 2 ? .sent(UInt8(value)) : line.count == 16 ? .called(value) : nil
        }
    }

    /// Whether the report is what the harness sent, and each result in it that of the test it names.
    func origin(of report: [UInt8], _ events: [Event]) -> BootReport.Origin {
        var count = 0, line: [UInt8] = []
        var running: (name: String, symbol: String, wasCalled: Bool, hasFailed: Bool)?
        for event in events {
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
                    running = (begun.name, begun.symbol, false, false)
                } else if let ended = running, Self.ends(ended.name, text) {
                    guard ended.wasCalled else { return .impostor(ended.name) }
                    if ended.hasFailed && text.hasPrefix("ok ") { return .silenced(ended.name) }
                    running = nil
                }
            case .sent: return .foreign(after: count)
            case .called(let address):
                guard let test = running, functions[test.symbol] == address else { return .impostor(running?.name ?? "nothing") }
                running?.wasCalled = true
            case .failed: running?.hasFailed = true
            }
        }
        return count == report.count ? .harness : .foreign(after: count)
    }

    /// The test or benchmark that the line says is called now.
    private static func begun(_ line: String) -> (name: String, symbol: String)? {
        for (prefix, macro) in [("# run ", "ktest_"), ("# bench ", "kbench_")] {
            if let name = line.dropping(prefix), KTAPLine.isName(name), let dot = name.firstIndex(of: ".") {
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
