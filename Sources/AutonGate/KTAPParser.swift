import AutonMessages

/// Reads a KTAP stream line by line; `KTAPReport` says what is demanded of it.
struct KTAPParser {
    /// The block of results at one depth of indentation.
    private struct Block {
        var hasVersion = false
        var plan: Int?
        var results = 0
        var failed: [String] = []
        /// What speaks against the next result of this block: a block of subtests that was before it.
        var pending: [String] = []

        /// What speaks against the block once it is over.
        var complaint: String? {
            let failed = failed + pending
            if !failed.isEmpty { return "subtests failed: " + failed.joined(separator: ", ") }
            if let plan, plan != results { return "\(plan) subtests planned, \(results) reported" }
            return nil
        }
    }

    private let nonce: String
    private var report = KTAPReport()
    private var top = Block()
    /// Blocks of subtests that are open, by their indentation, outermost first.
    private var nested: [(indentation: Int, block: Block)] = []
    private var diagnostics: [String] = []
    private var unfinished: [TestResult] = []
    private var names: Set<String> = []
    /// By result lines alone, as the harness counts: passed, failed, skipped.
    private var counts = [0, 0, 0]
    private var nonceSeen = false
    private var ended = false

    init(nonce: String) { self.nonce = nonce }

    mutating func read(_ text: String) {
        let indentation = text.utf8.prefix { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }.count
        let line = KTAPLine(String(text.utf8.dropFirst(indentation)) ?? "")
        switch line {
        case .noise, .measurement: return
        case .diagnostic(let text): diagnostics.append(text)
        case .run(let name): begin(name)
        case .panic(let why): if report.panic == nil { report.panic = why }
        case .refusal(let why): problem("the harness refused: \(why)")
        case .nonce(let found): check(found)
        case .end(let found, let passed, let failed, let skipped): end(found, [passed, failed, skipped])
        case .version, .plan, .result:
            if indentation > 0 { readNested(line, at: indentation) } else { readTop(line) }
        }
        report.begun = true
    }

    private mutating func readTop(_ line: KTAPLine) {
        switch line {
        case .version(let version):
            if top.hasVersion { problem("a second version line") }
            if version != "1" { problem("KTAP version \(version), not 1") }
            top.hasVersion = true
        case .plan(let count):
            if !top.hasVersion { problem("the plan comes before the version line") }
            if top.plan != nil { problem("a second plan") }
            if top.results > 0 { problem("the plan comes after results") }
            top.plan = top.plan ?? count
        case .result(let result):
            if ended { problem("a result after the end: \(result.name)") }
            record(result)
        default: break
        }
    }

    private mutating func readNested(_ line: KTAPLine, at indentation: Int) {
        while let last = nested.last, last.indentation > indentation { closeInnermost() }
        if nested.last?.indentation != indentation { nested.append((indentation, Block())) }
        let index = nested.count - 1
        switch line {
        case .plan(let count): nested[index].block.plan = nested[index].block.plan ?? count
        case .result(let result):
            nested[index].block.results += 1
            let complaints = nested[index].block.pending
            nested[index].block.pending = []
            if Self.outcome(of: result) == .notOk || !complaints.isEmpty { nested[index].block.failed.append(result.name) }
        default: break
        }
    }

    private mutating func closeInnermost() {
        guard let complaint = nested.popLast()?.block.complaint else { return }
        if nested.isEmpty { top.pending.append(complaint) } else { nested[nested.count - 1].block.pending.append(complaint) }
    }

    private mutating func record(_ result: KTAPLine.Result) {
        top.results += 1
        if !top.hasVersion { problem("results come before the version line") }
        if top.plan == nil { problem("results come before the plan") }
        if !nonceSeen { problem("results come before the nonce") }
        if result.number != top.results { problem("result \(result.number) stands where \(top.results) belongs") }
        if !names.insert(result.name).inserted { problem("two results for \(result.name)") }
        if let running = report.running, running != result.name {
            abandon(running)
            problem("a result for \(result.name) while \(running) was running")
        }
        report.running = nil

        var test = TestResult(name: result.name, outcome: Self.outcome(of: result), diagnostics: diagnostics)
        counts[test.outcome == .ok ? 0 : test.outcome == .skip ? 2 : 1] += 1
        while !nested.isEmpty { closeInnermost() }
        if !top.pending.isEmpty { test.outcome = .notOk }
        test.diagnostics += top.pending
        top.pending = []
        diagnostics = []
        report.tests.append(test)
    }

    /// Strict where KTAP leaves room: a failure that was expected, or a test that says ERROR or TIMEOUT, has failed.
    private static func outcome(of result: KTAPLine.Result) -> TestResult.Outcome {
        switch result.directive {
        case _ where !result.isOK: .notOk
        case "SKIP": .skip
        case "TIMEOUT", "ERROR", "XFAIL", "TODO": .notOk
        default: .ok
        }
    }

    private mutating func begin(_ name: String) {
        if ended { problem("\(name) begins after the end") }
        if let running = report.running {
            abandon(running)
            problem("no result for \(running)")
        }
        report.running = name
        diagnostics = []
    }

    private mutating func abandon(_ name: String) {
        unfinished.append(TestResult(name: name, outcome: .missing, diagnostics: diagnostics))
        diagnostics = []
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
        if let running = report.running { abandon(running) }
        report.tests += unfinished.filter { names.insert($0.name).inserted }
        if !top.hasVersion { problem("no version line") }
        if !nonceSeen { problem("no nonce line") }
        if let plan = top.plan {
            if plan != top.results { problem("\(plan) tests planned, \(top.results) reported") }
        } else {
            problem("no plan")
        }
        if !ended { problem("no end line") }
        return report
    }
}
