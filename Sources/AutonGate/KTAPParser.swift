import AutonMessages

/// Reads a KTAP stream in pieces of any size; `KTAPReport` says what is demanded of it.
struct KTAPParser {
    /// No report of ours is larger; what a kernel prints beyond is no reason to keep it.
    private static let deepest = 16, mostTests = 1 << 16, mostDiagnostics = 32

    private let nonce: String
    private var lines = LineReader()
    private var report = KTAPReport()
    private var top = KTAPBlock()
    /// Blocks of subtests that are open, outermost first: the one at level 1, and so on.
    private var nested: [KTAPBlock] = []
    /// For every level that is open: what the subtests since its last result say against its next one; nil if there are none.
    private var pending: [[String]?] = [nil]
    private var diagnostics: [String] = []
    /// Whether an assertion of the test that runs was told to have failed.
    private var failedAssertion = false
    private var omitted = 0
    private var unfinished: [TestResult] = []
    private var names: Set<String> = []
    /// By result lines alone, as the harness counts: passed, failed, skipped.
    private var counts = [0, 0, 0]
    private var nonceSeen = false
    private var ended = false
    private var bailedOut = false

    init(nonce: String) { self.nonce = nonce }

    mutating func read(_ chunk: ArraySlice<UInt8>) {
        var rest = chunk
        while let line = lines.next(in: &rest) { read(KTAPLine(line)) }
    }

    private mutating func read(_ line: KTAPLine) {
        switch line.content {
        case .noise: return
        case .measurement: return
        case .diagnostic(let text):
            if Self.isFailedAssertion(text) { failedAssertion = true }
            diagnose(text)
        case .run(let name): begin(name)
        case .panic(let why): if report.panic == nil { report.panic = why }
        case .trace(let frames): if report.trace.isEmpty { report.trace = frames }
        case .refusal(let why): problem("the harness refused: \(why)")
        case .nonce(let found): check(found)
        case .end(let found, let passed, let failed, let skipped): end(found, [passed, failed, skipped])
        case .malformed(let fault): problem(fault)
        case .bailOut(let why):
            bailedOut = true
            problem("bail out" + (why.isEmpty ? "" : ": \(why)"))
        case .version, .plan, .result:
            if ended { problem("the report goes on after its end") }
            if bailedOut { problem("the report goes on after a bail-out") }
            read(line.content, at: line.level)
        }
        report.begun = true
    }

    private mutating func read(_ content: KTAPLine.Content, at level: Int) {
        guard level <= Self.deepest else { return problem("nested deeper than \(Self.deepest) levels") }
        close(downTo: level)
        while nested.count < level {
            nested.append(KTAPBlock())
            pending.append(nil)
        }
        var faults: [String] = []
        switch content {
        case .version(let version): faults = change(level) { $0.version(version) }
        case .plan(let count): faults = change(level) { $0.plan(count) }
        case .result(let result):
            faults = change(level) { $0.result(result) }
            let complaints = pending[level] ?? []
            pending[level] = nil
            if level == 0 {
                record(result, complaints)
            } else if Self.outcome(of: result) == .notOk || !complaints.isEmpty {
                nested[level - 1].noteFailure(of: result.name)
            }
        default: break
        }
        if level == 0 { faults.forEach { problem($0) } } else { nested[level - 1].note(faults) }
    }

    private mutating func change(_ level: Int, _ body: (inout KTAPBlock) -> [String]) -> [String] {
        level == 0 ? body(&top) : body(&nested[level - 1])
    }

    /// Ends the blocks of subtests that are deeper than `level`.
    private mutating func close(downTo level: Int) {
        while nested.count > level, let block = nested.popLast() {
            var complaints = block.complaints
            if pending.removeLast() != nil { complaints.append("subtests: some of their own without a result of their test") }
            if let before = pending[nested.count] { complaints = before + ["two blocks of subtests"] + complaints }
            pending[nested.count] = Array(complaints.prefix(4))
        }
    }

    private mutating func record(_ result: KTAPLine.Result, _ complaints: [String]) {
        if !nonceSeen { problem("results come before the nonce") }
        if let running = report.running {
            if running != result.name {
                abandon(running)
                problem("a result for \(result.name) while \(running) was running")
            }
        } else {
            problem("a result for \(result.name), which was not begun")
        }
        report.running = nil
        defer { dropDiagnostics() }
        let outcome = Self.outcome(of: result)
        if outcome != .notOk && failedAssertion {
            problem("\(result.name) is said to be \(outcome.rawValue), but an assertion of it failed")
        }
        counts[outcome == .ok ? 0 : outcome == .skip ? 2 : 1] += 1
        guard report.tests.count < Self.mostTests else { return problem("more than \(Self.mostTests) results") }
        if !names.insert(result.name).inserted { problem("two results for \(result.name)") }
        report.tests.append(
            TestResult(
                name: result.name, outcome: complaints.isEmpty ? outcome : .notOk, diagnostics: said + complaints))
    }

    /// Strict where KTAP leaves room: a failure that was expected, or a test that says ERROR or TIMEOUT, has failed.
    private static func outcome(of result: KTAPLine.Result) -> TestResult.Outcome {
        if !result.isOK || ["TIMEOUT", "ERROR", "XFAIL", "TODO"].contains(result.directive) { return .notOk }
        // As TAP has it: SKIPPED is a skip too.
        return result.directive.hasPrefix("SKIP") ? .skip : .ok
    }

    private mutating func begin(_ name: String) {
        if ended { problem("\(name) begins after the end") }
        if let running = report.running {
            abandon(running)
            problem("no result for \(running)")
        }
        if !nested.isEmpty || pending[0] != nil { problem("subtests before their test: \(name)") }
        report.running = name
        dropDiagnostics()
    }

    private mutating func abandon(_ name: String) {
        if unfinished.count < Self.mostTests {
            unfinished.append(TestResult(name: name, outcome: .missing, diagnostics: said))
        }
        dropDiagnostics()
    }

    /// As the harness tells of one, before it says that the test has failed: `lib/sum.c:12: KASSERT(…`.
    private static func isFailedAssertion(_ text: String) -> Bool {
        guard let end = text.firstRange(of: ": KASSERT") else { return false }
        let place = text[..<end.lowerBound], line = place.reversed().prefix { $0.isNumber }
        return !line.isEmpty && place.dropLast(line.count).last == ":"
    }

    private mutating func diagnose(_ text: String) {
        if diagnostics.count < Self.mostDiagnostics { diagnostics.append(text) } else { omitted += 1 }
    }

    private var said: [String] { diagnostics + (omitted > 0 ? ["[… \(omitted) more lines]"] : []) }

    private mutating func dropDiagnostics() {
        failedAssertion = false
        diagnostics = []
        omitted = 0
    }

    private mutating func check(_ found: String) {
        if nonceSeen { problem("a second nonce line") }
        nonceSeen = true
        if found != nonce { problem("the nonce at the beginning is not this boot's") }
    }

    private mutating func end(_ found: String, _ said: [Int]) {
        if ended { problem("a second end line") }
        ended = true
        if found != nonce { problem("the nonce at the end is not this boot's") }
        if said != counts {
            let text = { (counts: [Int]) in "\(counts[0]) passed, \(counts[1]) failed, \(counts[2]) skipped" }
            problem("the end line says \(text(said)), but there are results for \(text(counts))")
        }
    }

    private mutating func problem(_ text: String) {
        // A stream of garbage must not become a verdict of garbage; the first few tell it all.
        if report.problems.count < 20 && !report.problems.contains(text) { report.problems.append(text) }
    }

    mutating func finish() -> KTAPReport {
        if let rest = lines.rest() { readUnended(KTAPLine(rest)) }
        if let running = report.running { abandon(running) }
        close(downTo: 0)
        if pending[0] != nil { problem("subtests without their test's result") }
        report.tests += unfinished.filter { names.insert($0.name).inserted }
        if !nonceSeen { problem("no nonce line") }
        top.end.forEach { problem($0) }
        if let running = report.running { problem("no result for \(running)") }
        if !ended { problem("no end line") }
        return report
    }

    /// A line whose end never came may be less than it was to be, so it counts for nothing but as a trace of what was.
    private mutating func readUnended(_ line: KTAPLine) {
        switch line.content {
        case .panic, .diagnostic: read(line)
        case .trace, .measurement, .noise: break
        default: problem("the last line has no end")
        }
    }
}
