import AutonMessages

/// The instructions that tests and benchmarks took, as the harness of a counting boot tells them beside its results:
/// `# count SUITE.NAME N` after the result of a test, `# bench SUITE.NAME` when a benchmark begins, the same with a number
/// when it ends, and before the first test `# figure SUITE.NAME N` for what the booted kernel says of itself.
///
/// A line counts only where the harness puts it. What a test prints of this form stands before its own result and is
/// nothing; whatever else stands where it does not belong, or twice, is a problem.
package struct CounterReport: Sendable, Equatable {
    package private(set) var counts = InstructionCounts()
    /// What is wrong with it, one line each.
    package private(set) var problems: [String] = []
    /// The benchmark that was begun last, if its count never came: where a hang or a reset was.
    package private(set) var running: String?
    private var runningTest: String?
    private var lastTest: String?
    private var hasRun = false

    package init() {}

    init(parsing bytes: [UInt8]) {
        var lines = LineReader(), rest = bytes[...]
        while let line = lines.next(in: &rest) { read(line) }
    }

    /// Whether a comment is a test's count, and not what a test says of something else that it calls a count.
    static func isCount(_ comment: String) -> Bool {
        guard let rest = comment.dropping("count "), let (name, count) = parse(rest) else { return false }
        return count != nil && name.contains(".")
    }

    /// What was seen from outside.
    mutating func add(_ masked: [String: InstructionCounts.Masked], atStart: Int?) {
        if let atStart { counts.figures.append(Figure(name: "boot.interrupts_off", value: atStart)) }
        for index in counts.tests.indices { counts.tests[index].masked = masked[counts.tests[index].name] }
        for index in counts.benches.indices { counts.benches[index].masked = masked[counts.benches[index].name] }
    }

    private mutating func read(_ line: LineReader.Line) {
        let text = String(decoding: line.bytes, as: UTF8.self)
        if let rest = text.dropping("# count ") { return readCount(rest) }
        if let rest = text.dropping("# bench ") { return readBench(rest) }
        if let rest = text.dropping("# figure ") { return readFigure(rest) }
        let line = KTAPLine(line)
        guard line.level == 0 else { return }
        switch line.content {
        case .run(let name): (runningTest, lastTest, hasRun) = (name, nil, true)
        case .result(let result): (runningTest, lastTest, hasRun) = (nil, result.name, true)
        default: break
        }
    }

    private mutating func readCount(_ text: String) {
        guard runningTest == nil, let (name, count) = Self.parse(text), let count else { return }
        guard name == lastTest else { return problem("a count for \(name) where none belongs") }
        lastTest = nil
        counts.tests.append(.init(name: name, instructions: count))
    }

    private mutating func readFigure(_ text: String) {
        guard !hasRun, let (name, value) = Self.parse(text), let value else { return }
        guard !counts.figures.contains(where: { $0.name == name }) else { return problem("the figure \(name) twice") }
        counts.figures.append(Figure(name: name, value: value))
    }

    private mutating func readBench(_ text: String) {
        guard runningTest == nil, let (name, count) = Self.parse(text) else { return }
        if let count {
            guard name == running else { return problem("a count for \(name) where none belongs") }
            running = nil
            counts.benches.append(.init(name: name, instructions: count))
        } else {
            if let running { problem("no count for \(running)") }
            running = name
        }
    }

    /// `NAME` or `NAME COUNT`.
    private static func parse(_ text: String) -> (name: String, count: Int?)? {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        switch words.count {
        case 1: return (words[0], nil)
        case 2: return Int(words[1]).flatMap { $0 >= 0 ? (words[0], $0) : nil }
        default: return nil
        }
    }

    private mutating func problem(_ text: String) {
        if problems.count < 20 { problems.append(text) }
    }
}
