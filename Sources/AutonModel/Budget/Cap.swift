import AutonKit
import AutonMessages
import Glibc

/// One cap as it stands when a turn is about to be taken. Amounts are picodollars, tokens or milliseconds.
struct Cap: Equatable {
    enum Kind: String {
        case usd, tokens
        /// The run's wall time: used are all milliseconds since 1970.
        case seconds
        case taskUSD = "task_usd"
        case taskTokens = "task_tokens"
        case taskSeconds = "task_seconds"
    }

    var kind: Kind
    var limit: Int
    /// The amount from which on a warning is due.
    var warnFrom: Int
    var spent: Int
    /// Reserved or abandoned.
    var held = 0
    /// What the turn may take at the most; of time, a moment.
    var needed = 1

    /// Whether there is no room for the turn.
    ///
    /// - Parameter returning: what others may still give back of what they hold.
    func isExceeded(returning: Int = 0) -> Bool { used - returning > limit }

    var isWarningDue: Bool { used >= warnFrom }

    var isOnTask: Bool { kind.rawValue.hasPrefix("task") }

    /// The part of an amount that counts against it.
    func part(of amount: Amount) -> Int {
        switch kind {
        case .usd, .taskUSD: amount.usd.picodollars
        case .tokens, .taskTokens: amount.tokens
        case .seconds, .taskSeconds: 0
        }
    }

    private var used: Int { spent.addingUpToLimit(held).addingUpToLimit(needed) }

    /// The cap's value in its unit, as the ledger has it.
    var limitText: String {
        switch kind {
        case .usd, .taskUSD: Money(picodollars: limit).usd
        case .tokens, .taskTokens: String(limit)
        case .seconds, .taskSeconds: FixedPoint.text(limit, digits: 3)
        }
    }

    /// Names a cap, its value and what it is on, so that a raised cap warns anew.
    func name(_ turn: Turn) -> String { Self.name(kind.rawValue, limitText, turn) }

    static func name(_ line: LedgerLine) -> String { name(line.model, line.limit ?? "", line.turn) }

    private static func name(_ kind: String, _ limit: String, _ turn: Turn) -> String {
        kind.hasPrefix("task") ? "\(kind) \(limit) \(turn.task)" : "\(kind) \(limit)"
    }

    func error(at turn: Turn) -> AutonError {
        let what =
            switch kind {
            case .seconds: "the run's time is used up, it ended at \(limitDate)"
            case .taskSeconds: "\(subject(turn))'s time is used up: \(show(spent)) of \(show(limit))"
            case .usd, .tokens, .taskUSD, .taskTokens:
                "\(subject(turn))'s budget is used up: \(show(spent)) spent, \(show(held)) reserved or abandoned, "
                    + "this turn may take \(show(needed)), the cap is \(show(limit))"
            }
        return AutonError(
            .budget, "\(what); raise \(setting) to go on",
            at: "\(turn.conversation) turn \(turn.number)")
    }

    /// The setting that it comes from.
    private var setting: String {
        switch kind {
        case .seconds: "budget.wall_minutes"
        case .taskSeconds: "budget.task_wall_minutes"
        case .usd, .tokens, .taskUSD, .taskTokens: "budget.\(kind.rawValue)"
        }
    }

    func warning(_ turn: Turn) -> String {
        switch kind {
        case .seconds: "the run's time is nearly used up: it ends at \(limitDate)"
        case .taskSeconds: "\(subject(turn))'s time is nearly used up: \(show(spent)) of \(show(limit))"
        case .usd, .tokens, .taskUSD, .taskTokens:
            "\(subject(turn))'s budget is nearly used up: \(show(spent)) spent, "
                + "\(show(held.addingUpToLimit(needed))) reserved or abandoned of \(show(limit))"
        }
    }

    /// Why a turn has to wait.
    func waiting(_ turn: Turn) -> String {
        "\(turn.conversation) turn \(turn.number) waits: the rest of \(subject(turn))'s budget is reserved by turns under way"
    }

    private func subject(_ turn: Turn) -> String { isOnTask ? turn.task : "the run" }

    private func show(_ amount: Int) -> String {
        switch kind {
        case .usd, .taskUSD: Money(picodollars: amount).description
        case .tokens, .taskTokens: "\(amount) tokens"
        case .seconds, .taskSeconds: "\(FixedPoint.text(amount / 100, digits: 1)) s"
        }
    }

    private var limitDate: String { Self.date(limit) }

    private static func date(_ milliseconds: Int) -> String {
        var time = time_t(milliseconds / 1000), fields = tm()
        gmtime_r(&time, &fields)
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &fields)
        return String(decoding: text[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

extension Caps {
    /// The caps that hold for a turn, as they stand.
    ///
    /// - Parameters:
    ///   - time: milliseconds worked on the turn's task.
    ///   - now: milliseconds since 1970.
    func standing(run: LedgerBook.Totals, task: LedgerBook.Totals, needing worst: WorstCase, time: Int, now: Int) -> [Cap] {
        func dollars(_ kind: Cap.Kind, _ limit: Money?, _ totals: LedgerBook.Totals) -> Cap? {
            limit.map {
                cap(kind, $0.picodollars, totals.spent.usd.picodollars, totals.held.usd.picodollars, worst.cost?.picodollars ?? 0)
            }
        }
        func tokens(_ kind: Cap.Kind, _ limit: Int?, _ totals: LedgerBook.Totals) -> Cap? {
            limit.map { cap(kind, $0, totals.spent.tokens, totals.held.tokens, worst.tokens) }
        }
        func cap(_ kind: Cap.Kind, _ limit: Int, _ spent: Int, _ held: Int, _ needed: Int) -> Cap {
            Cap(kind: kind, limit: limit, warnFrom: share(of: limit), spent: spent, held: held, needed: needed)
        }
        let duration = seconds.map(Self.milliseconds)
        return [
            dollars(.usd, usd, run), tokens(.tokens, self.tokens, run), dollars(.taskUSD, taskUSD, task),
            tokens(.taskTokens, taskTokens, task),
            taskSeconds.map(Self.milliseconds).map { cap(.taskSeconds, $0, time, 0, 1) },
            deadline.map(Self.milliseconds).map { end in
                Cap(kind: .seconds, limit: end, warnFrom: duration.map { end - $0 + share(of: $0) } ?? .max, spent: now)
            },
        ].compactMap { $0 }
    }

    private func share(of limit: Int) -> Int { Int(exactly: (Double(limit) * warn).rounded()) ?? limit }

    private static func milliseconds(_ seconds: Double) -> Int { Int(exactly: (seconds * 1000).rounded()) ?? .max }
}
