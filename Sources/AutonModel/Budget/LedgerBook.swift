import AutonMessages

/// The running totals of a ledger, line by line.
struct LedgerBook {
    /// The totals of the run, or of a task.
    struct Totals: Equatable {
        var spent = Amount()
        /// Set aside by turns that are under way, or were when their process was killed.
        var reserved = Amount()
        /// May have been billed, without a response that tells.
        var abandoned = Amount()
        /// Milliseconds that processes have worked, side by side ones each by itself.
        var time = 0

        /// All that counts against a cap without having been seen in a response.
        var held: Amount { reserved + abandoned }
    }

    /// A reservation without a word of what became of it.
    struct Reservation {
        var line: LedgerLine
        /// Where its line begins in the file.
        var place: Int
    }

    private struct Work: Hashable {
        var task: String
        var process: LedgerLine.Process
    }

    private(set) var run = Totals()
    /// Turns that were settled, and what they used.
    private(set) var turns = 0
    private(set) var usage = TokenUsage()
    private(set) var tasks: [String: Totals] = [:]
    /// A turn has one open reservation at most: a new one abandons the old one.
    private(set) var open: [Turn: Reservation] = [:]
    /// The caps that a warning was given of.
    private(set) var warned: Set<String> = []
    /// Until when a process has worked on a task.
    private var worked: [Work: Int] = [:]

    /// Takes in the line that begins at `place` in the file.
    mutating func apply(_ line: LedgerLine, at place: Int) {
        let task = line.turn.task
        var totals = tasks[task] ?? Totals()
        let closed = line.event == .warned ? nil : open.removeValue(forKey: line.turn)?.line.amount ?? Amount()
        func change(_ totals: inout Totals) {
            if let closed { totals.reserved -= closed }
            switch line.event {
            case .reserve:
                totals.reserved += line.amount
                totals.abandoned += closed ?? Amount()
            case .settle: totals.spent += line.amount
            case .abandon: totals.abandoned += closed ?? Amount()
            case .release, .warned: break
            }
        }
        change(&totals)
        change(&run)
        if line.event == .settle {
            turns += 1
            usage = usage + line.usage
        }
        if line.event == .reserve { open[line.turn] = Reservation(line: line, place: place) }
        if line.event == .warned { warned.insert(Cap.name(line)) }
        let work = Work(task: task, process: line.process)
        let more = max(0, line.time - (worked[work] ?? line.process.since))
        worked[work] = max(line.time, worked[work] ?? 0)
        totals.time += more
        run.time += more
        tasks[task] = totals
    }

    /// Milliseconds of work on a task until `now`, this process's own since its last line among them.
    func time(of task: String, _ process: LedgerLine.Process, now: Int) -> Int {
        let last = worked[Work(task: task, process: process)] ?? process.since
        return (tasks[task]?.time ?? 0) + max(0, now - last)
    }
}

extension Turn {
    /// The task that a turn is for: `boot-002` of the conversations `boot-002.1` and `boot-002.1.review`, `plan` of `plan-1`.
    var task: String {
        if let dot = conversation.utf8.firstIndex(of: UInt8(ascii: ".")) { return String(conversation[..<dot]) }
        let number = conversation.utf8.reversed().prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }.count
        let name = conversation.utf8.dropLast(number)
        return number > 0 && name.last == UInt8(ascii: "-") && name.count > 1
            ? String(conversation.dropLast(number + 1)) : conversation
    }
}
