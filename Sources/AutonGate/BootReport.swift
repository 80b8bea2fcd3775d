import AutonMessages

/// What a boot showed. It is good if its witnesses agree: the exit status, the plan, the results, the counts at the
/// end and the nonce.
package struct BootReport: Sendable {
    /// What the kernel printed on COM1.
    package var console: String
    /// What its harness said on COM2.
    package var report: KTAPReport
    /// What it said there of instructions, if the machine counts them.
    package var counters = CounterReport()
    package var ending: BootEnding
    /// Wall time.
    package var seconds: Double
    /// The boot's limit, in seconds.
    package var limit: Double
    /// QEMU's own complaint.
    package var complaint: String
    /// Where a bad boot was and why, as far as that was found out: what there is of code in a hang, of the exception behind
    /// a triple fault, of a panic's callers.
    package var diagnosis: [String] = []

    /// Whether the harness was seen to send the report.
    package enum Origin: Sendable, Equatable {
        /// Nobody looked on.
        case unknown
        case harness
        /// The number of bytes after which it is another's, or not what was sent.
        case foreign(after: Int)
        /// A test that the harness was not seen to call, though it has a result, or for which it called something else.
        case impostor(String)
        /// A test that is said to pass after an assertion was seen not to hold.
        case silenced(String)
    }

    package var origin = Origin.unknown
    /// What was seen to be done to the harness by others; empty if nothing was, or nobody looked on.
    var tampering: [String] = []
    /// Nil if it was seen that the harness sent the whole report itself and was left alone; else one line that says what was not so.
    var intrusion: String? {
        switch origin {
        case .harness: tampering.first
        case .unknown: "the harness does not tell where it sends from"
        case .impostor(let test): "the harness was not seen to call \(test) itself"
        case .silenced(let test): "an assertion failed in \(test), which is said to pass"
        case .foreign(let bytes): "the report is not what the harness sent, from byte \(bytes + 1) on"
        }
    }

    /// What the plugin wrote, if something was profiled.
    var profile: [UInt8] = []

    package var consoleLines: [String] { Text.lines(console) }

    /// Nil if all is well; else one line that says what is not, and in which test. The same for every boot of the
    /// same kernel.
    package var failure: String? {
        switch ending {
        case .flooded: "serial flood: more than \(Boot.outputLimit >> 10) KiB printed \(place)"
        case .timedOut: isSilent ? "nothing printed within \(Text.seconds(limit))" : "hang \(place) after \(Text.seconds(limit))"
        case .reset: isSilent ? "reset (triple fault?) with nothing printed" : "reset (triple fault?) \(place)"
        case .panic: "panic \(place)" + (report.panic.map { ": \($0)" } ?? ", of which COM2 says nothing")
        case .notLoadable: "QEMU cannot load the image: \(complaint)"
        case .other(let status): "QEMU ended with status \(status) \(place)" + (complaint.isEmpty ? "" : ": \(complaint)")
        case .passed: contradiction(of: "pass")
        case .failed: failedTests ?? contradiction(of: "failure") ?? "exit status says failure, but every test passed"
        }
    }

    private var failedTests: String? {
        let failed = report.names(.notOk)
        return failed.isEmpty || !report.problems.isEmpty
            ? nil : "\(Text.count(failed.count, "test")) failed: \(Text.list(failed))"
    }

    /// What stands against an exit status that says `claim`.
    private func contradiction(of claim: String) -> String? {
        if !report.begun { return isSilent ? "nothing printed" : "no test report on COM2" }
        let failed = report.names(.notOk)
        if claim == "pass" && !failed.isEmpty { return "exit status says pass, but \(Text.list(failed)) failed" }
        if let panic = report.panic { return "exit status says \(claim), but the kernel panicked: \(panic)" }
        if let problem = report.problems.first { return "the test report is not to be believed: \(problem)" }
        if report.names(.ok).isEmpty { return "no test ran" }
        return nil
    }

    /// Where it ended before all that it was to run had run: the test or benchmark, `boot` before the first; nil if it came to
    /// its end.
    package var endedIn: String? {
        // A benchmark that fails ends it.
        guard ending != .passed && (ending != .failed || counters.running != nil) || !report.begun else { return nil }
        return report.running ?? counters.running ?? (report.tests.isEmpty ? "boot" : report.tests.last?.name)
    }

    private var isSilent: Bool { console.isEmpty && !report.begun }

    private var place: String {
        if let running = report.running { return "in \(running)" }
        if let bench = counters.running { return "in the benchmark \(bench)" }
        guard let last = report.tests.last else { return "before the first test" }
        return "after \(last.name)"
    }
}
