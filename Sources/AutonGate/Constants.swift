/// What the names of a file may stand for, as far as its text tells, and the value of expressions of them.
struct Constants {
    /// What is known of a number.
    enum Value: Equatable {
        /// It is one of these.
        case exact(Set<Int>)
        /// It is the sum of one of these and something else.
        case offset(Set<Int>)
        case unknown

        var known: Set<Int> {
            switch self {
            case .exact(let values), .offset(let values): values
            case .unknown: []
            }
        }

        func union(_ other: Value) -> Value {
            switch (self, other) {
            case (.unknown, _): other
            case (_, .unknown): self
            case (.exact(let a), .exact(let b)): .exact(a.union(b))
            default: .offset(known.union(other.known))
            }
        }
    }

    /// A name with more values than this is a variable that could be anything.
    private static let most = 16

    let numeral: @Sendable (String) -> Int?
    private(set) var values: [String: Value] = [:]

    init(numeral: @escaping @Sendable (String) -> Int?) { self.numeral = numeral }

    mutating func add(_ name: String, _ value: Value) {
        if value == .unknown { return }
        let joined = (values[name] ?? .unknown).union(value)
        if joined.known.count <= Self.most { values[name] = joined }
    }

    mutating func merge(_ other: Constants) { for (name, value) in other.values { add(name, value) } }

    /// The value of what stands at the beginning of `tokens`, as far as it reads as an expression.
    func value(of tokens: ArraySlice<Token>) -> Value {
        var parser = ConstantParser(constants: self, rest: tokens)
        return parser.expression()
    }

    static func combine(_ a: Value, _ b: Value, _ operation: String, _ compute: (Int, Int) -> Int?) -> Value {
        if case .exact(let left) = a, case .exact(let right) = b {
            guard left.count * right.count <= most * most else { return .unknown }
            let results = Set(left.flatMap { x in right.compactMap { compute(x, $0) } })
            return results.isEmpty || results.count > most ? .unknown : .exact(results)
        }
        // Of a sum the known part is worth knowing.
        switch operation {
        case "+", "|":
            if case .unknown = a { return b == .unknown ? .unknown : .offset(b.known) }
            if case .unknown = b { return .offset(a.known) }
        case "-":
            if case .unknown = b, a != .unknown { return .offset(a.known) }
        default: return .unknown
        }
        let sums = Set(a.known.flatMap { x in b.known.compactMap { compute(x, $0) } })
        return sums.isEmpty || sums.count > most ? .unknown : .offset(sums)
    }
}
