import AutonKit
import AutonMessages
import Glibc
import Synchronization
import SystemPackage

/// What a run has spent and what its turns may still cost, kept so that no cap is ever exceeded: a turn's worst case is
/// reserved before it is taken, and becomes the actual cost after.
///
/// One append-only file in the mailbox, read and written under its lock by all the processes of a run; what it holds is in
/// `mailbox/README.md`. A process remembers how far it has read, so that a look costs what is new. A reservation is on
/// the disk before the request goes out; what only lowers the sum (settlement, release) is not flushed, since a power loss
/// that takes it leaves too much counted, never too little.
package final class Ledger: Sendable {
    private struct State {
        var book = LedgerBook()
        var identity: LedgerFile.Identity?
        /// How far the file is read, in bytes and in lines.
        var place = 0
        var lines = 0
        var live: LiveReservations?
    }

    /// Where the ledger of a mailbox is.
    package static func path(in mailbox: FilePath) -> FilePath { mailbox.appending("budget/ledger.tsv") }

    private let path: FilePath
    private let caps: Caps
    let prices: PriceTable
    private let report: @Sendable (String) -> Void
    private let process = LedgerLine.Process(id: getpid(), since: now())
    private let state = Mutex(State())

    /// - Parameters:
    ///   - mailbox: its directory. The ledger is made by the first reservation.
    ///   - report: told of warnings, waits, and of a server whose numbers cannot be true.
    package init(
        _ mailbox: FilePath, caps: Caps = Caps(), prices: PriceTable = PriceTable(),
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        path = Self.path(in: Files.absolute(mailbox))
        self.caps = caps
        self.prices = prices
        self.report = report
    }

    /// Reserves a turn's worst case. A reservation that the turn has already is abandoned: its process was killed, and may have been
    /// billed for it.
    ///
    /// Waits while the rest of a cap is only reserved by live processes, which give most of it back when their turns are settled.
    ///
    /// - Throws: `AutonError` with `.budget` if there is no room and none can come back.
    package func reserve(_ worst: WorstCase, model: String, at turn: Turn) throws {
        var waits = false
        while true {
            switch try locked({ try tryReserve(worst, model, turn, &$0, $1) }) {
            case .reserved(let warnings):
                for cap in warnings { report(cap.warning(turn)) }
                return
            case .noRoomYet(let cap):
                if !waits { report(cap.waiting(turn)) }
                waits = true
                usleep(100_000)
            }
        }
    }

    private enum Attempt: Sendable {
        /// With the caps whose warning is due.
        case reserved([Cap])
        case noRoomYet(Cap)
    }

    private func tryReserve(_ worst: WorstCase, _ model: String, _ turn: Turn, _ state: inout State, _ file: LedgerFile) throws
        -> Attempt
    {
        let time = Self.now(), live = try liveReservations(&state)
        let standing = caps.standing(
            run: state.book.run, task: state.book.tasks[turn.task] ?? LedgerBook.Totals(), needing: worst,
            time: state.book.time(of: turn.task, process, now: time), now: time)
        let exceeded = standing.filter { $0.isExceeded() }
        for cap in exceeded where cap.isExceeded(returning: cap.part(of: held(by: live, state.book, cap, turn))) {
            throw cap.error(at: turn)
        }
        if let cap = exceeded.first { return .noRoomYet(cap) }
        let due = standing.filter { $0.isWarningDue && !state.book.warned.contains($0.name(turn)) }
        let place = state.place
        let reservation = line(
            .reserve, turn, model: Self.plain(model), usage: TokenUsage(input: worst.input, output: worst.output),
            cost: worst.cost)
        let warnings = due.map { line(.warned, turn, model: $0.kind.rawValue, limit: $0.limitText) }
        try append([reservation] + warnings, &state, file, durably: true)
        live.hold(place)
        return .reserved(due)
    }

    /// What other live processes hold of a cap; not what this turn held before, which is abandoned.
    private func held(by live: LiveReservations, _ book: LedgerBook, _ cap: Cap, _ turn: Turn) -> Amount {
        book.open.values.filter {
            $0.line.turn != turn && (!cap.isOnTask || $0.line.turn.task == turn.task) && live.isHeldByAnother($0.place)
        }.reduce(Amount()) { $0 + $1.line.amount }
    }

    /// Gives a turn's reservation back: it was surely not billed.
    package func release(_ turn: Turn) throws { try close(turn, .release) }

    /// Says that a turn has come to nothing, but may have been billed: its reservation stays counted for ever.
    package func abandon(_ turn: Turn) throws { try close(turn, .abandon) }

    private func close(_ turn: Turn, _ event: LedgerLine.Event) throws {
        _ = try ifThere { state, file in
            guard let open = state.book.open[turn]?.line else { return }
            try append([line(event, turn, model: open.model, usage: open.usage, cost: open.cost)], &state, file)
        }
    }

    /// The turn's open reservation becomes what the response says that it used. With nothing reserved, or said again, it changes nothing.
    ///
    /// It is priced as the model that answered, or as the one that was asked if the name of the former has no price. A server that
    /// tells no usage at all has not worked for nothing: the turn is abandoned then.
    package func settle(_ turn: Turn, usage: TokenUsage, model: String) throws {
        let doubt: String?? = try ifThere { state, file in
            guard let open = state.book.open[turn]?.line else { return nil }
            if usage.total == 0 {
                try append([line(.abandon, turn, model: open.model, usage: open.usage, cost: open.cost)], &state, file)
                return "no usage; its worst case stays counted, \(open.amount)"
            }
            let answered = prices.find(model) == nil ? open.model : model
            // What was reserved without a price has none; what was reserved with one never becomes free for want of it.
            let cost = open.cost.map { prices.find(answered)?.cost(of: usage) ?? $0 }
            let actual = line(.settle, turn, model: Self.plain(answered), usage: usage.atLeastZero, cost: cost)
            try append([actual], &state, file)
            let isMore = actual.amount.usd > open.amount.usd || actual.amount.tokens > open.amount.tokens
            return isMore ? "more than can be, \(actual.amount); \(open.amount) were reserved" : nil
        }
        if let doubt, let doubt { report("of \(turn.conversation) turn \(turn.number) the server tells \(doubt)") }
    }

    /// What the ledger comes to; nil if there is none. Nothing is changed.
    package func summary() throws -> BudgetSummary? {
        guard Files.exists(path) else { return nil }
        return try state.withLock { state in
            let lock = try FileLock(shared: path)
            defer { lock.release() }
            return try LedgerFile.with(path, writable: false) { file in
                try read(file, &state)
                return BudgetSummary(state.book, caps)
            }
        }
    }
}

extension Ledger {
    /// Runs `body` under the lock, on the ledger as it is now.
    private func locked<T: Sendable>(_ body: (inout State, LedgerFile) throws -> T) throws -> T {
        try state.withLock { state in
            let lock = try FileLock(path)
            defer { lock.release() }
            return try LedgerFile.with(path, writable: true) { file in
                try read(file, &state)
                return try body(&state, file)
            }
        }
    }

    /// The same, but a ledger that is not there is not made.
    private func ifThere<T: Sendable>(_ body: (inout State, LedgerFile) throws -> T) throws -> T? {
        Files.exists(path) ? try locked(body) : nil
    }

    private func read(_ file: LedgerFile, _ state: inout State) throws {
        if file.identity != state.identity || file.isCut(at: state.place) {
            state = State(identity: file.identity, live: state.live)
        }
        var rest = try file.lines(from: state.place)
        while !rest.isEmpty {
            let text = rest.prefix { $0 != UInt8(ascii: "\n") }
            guard let line = LedgerLine(text) else {
                throw AutonError(.badInput, "no line of a ledger", at: "\(path):\(state.lines + 1)")
            }
            take(line, length: text.count + 1, &state)
            rest = rest[text.endIndex...].dropFirst()
        }
    }

    private func append(_ lines: [LedgerLine], _ state: inout State, _ file: LedgerFile, durably: Bool = false) throws {
        try file.append(lines.map(\.text).joined(), at: state.place, durably: durably)
        for line in lines { take(line, length: line.text.utf8.count, &state) }
    }

    private func take(_ line: LedgerLine, length: Int, _ state: inout State) {
        state.book.apply(line, at: state.place)
        state.place += length
        state.lines += 1
    }

    private func liveReservations(_ state: inout State) throws -> LiveReservations {
        let live = try state.live ?? LiveReservations(path.removingLastComponent().appending("live"))
        state.live = live
        return live
    }

    private func line(
        _ event: LedgerLine.Event, _ turn: Turn, model: String, usage: TokenUsage = TokenUsage(), cost: Money? = nil,
        limit: String? = nil
    ) -> LedgerLine {
        LedgerLine(
            event, time: Self.now(), process: process, turn: turn, model: model, usage: usage, cost: cost, limit: limit)
    }

    /// A column's text: no character that ends one, and not nothing.
    private static func plain(_ text: String) -> String { text.isEmpty ? "-" : String(text.map { $0 < " " ? " " : $0 }) }

    /// Milliseconds since 1970.
    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}

extension TokenUsage {
    /// Without the negative counts that only a broken server reports.
    fileprivate var atLeastZero: TokenUsage {
        TokenUsage(
            input: max(0, input), cacheCreation: max(0, cacheCreation), cacheRead: max(0, cacheRead), output: max(0, output))
    }
}
