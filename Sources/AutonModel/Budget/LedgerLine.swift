import AutonMessages

/// A line of the ledger: something that happened to the budget. `mailbox/README.md` tells the columns.
struct LedgerLine: Equatable {
    enum Event: String {
        /// A turn's worst case is set aside. `usage` is its tokens, all input as `input`.
        case reserve
        /// The turn's reservation has become what the response says that it used.
        case settle
        /// The turn's reservation is free again.
        case release
        /// The turn's reservation stays counted.
        case abandon
        /// A cap's warning was given: `model` has the cap's name, `cost` nothing, `limit` its value.
        case warned
    }

    /// The process that wrote it: its id, and since when it has been at work, in milliseconds since 1970.
    struct Process: Hashable {
        var id: Int32
        var since: Int
    }

    var event: Event
    /// Milliseconds since 1970.
    var time: Int
    var process: Process
    var turn: Turn
    var model: String
    var usage = TokenUsage()
    /// Nil if the model has no price.
    var cost: Money?
    /// Of `warned`: the cap in its unit.
    var limit: String?

    /// Parses a line without its newline; nil if it is none. Further columns are ignored.
    init?(_ text: ArraySlice<UInt8>) {
        var rest = text
        // Without an array of them: a ledger of many lines is read before the first request goes out.
        func field() -> ArraySlice<UInt8>? {
            let field = rest.prefix { $0 != UInt8(ascii: "\t") }
            rest = rest[field.endIndex...].dropFirst()
            return field.isEmpty ? nil : field
        }
        func string() -> String? { field().map { String(decoding: $0, as: UTF8.self) } }
        func number(_ digits: Int = 0) -> Int? { field().flatMap { FixedPoint.parse($0, digits: digits) } }
        guard let event = string().flatMap(Event.init), let time = number(3), let id = number().flatMap(Int32.init(exactly:)),
            let since = number(3), let conversation = string(), let turn = number(), let model = string(), let input = number(),
            let cacheCreation = number(), let cacheRead = number(), let output = number(), let last = field()
        else { return nil }
        self.init(
            event, time: time, process: Process(id: id, since: since), turn: Turn(conversation: conversation, number: turn),
            model: model, usage: TokenUsage(input: input, cacheCreation: cacheCreation, cacheRead: cacheRead, output: output))
        if event == .warned {
            limit = String(decoding: last, as: UTF8.self)
        } else if !last.elementsEqual("-".utf8) {
            guard let cost = Money(utf8: last) else { return nil }
            self.cost = cost
        }
    }

    init(
        _ event: Event, time: Int, process: Process, turn: Turn, model: String, usage: TokenUsage = TokenUsage(),
        cost: Money? = nil, limit: String? = nil
    ) {
        self.event = event
        self.time = time
        self.process = process
        self.turn = turn
        self.model = model
        self.usage = usage
        self.cost = cost
        self.limit = limit
    }

    var amount: Amount { Amount(usd: cost ?? .zero, tokens: usage.total) }

    /// The line with its newline.
    var text: String {
        let fields = [
            event.rawValue, FixedPoint.text(time, digits: 3, least: 3), String(process.id),
            FixedPoint.text(process.since, digits: 3, least: 3), turn.conversation, String(turn.number), model,
            String(usage.input),
            String(usage.cacheCreation), String(usage.cacheRead), String(usage.output), limit ?? cost?.usd ?? "-",
        ]
        return fields.joined(separator: "\t") + "\n"
    }
}
