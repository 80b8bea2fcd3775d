/// Reads integer expressions of C and of nasm, by precedence.
struct ConstantParser {
    let constants: Constants
    var rest: ArraySlice<Token>
    /// Deeper nesting than any person writes is not read.
    private var depth = 0
    private static let deepest = 100

    init(constants: Constants, rest: ArraySlice<Token>) {
        self.constants = constants
        self.rest = rest
    }

    private static let precedences: [String: Int] = [
        "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8, "+": 9,
        "-": 9, "*": 10, "/": 10, "%": 10,
    ]

    mutating func expression() -> Constants.Value {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { return .unknown }
        let value = binary(1)
        guard rest.first?.isPunctuator("?") == true else { return value }
        rest = rest.dropFirst()
        let first = expression()
        guard rest.first?.isPunctuator(":") == true else { return .unknown }
        rest = rest.dropFirst()
        return first.union(expression())
    }

    private mutating func binary(_ least: Int) -> Constants.Value {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest else { return .unknown }
        var left = unary()
        while let token = rest.first, token.kind == .punctuator, let precedence = Self.precedences[token.text],
            precedence >= least
        {
            rest = rest.dropFirst()
            let right = binary(precedence + 1)
            left = Constants.combine(left, right, token.text) { Self.compute(token.text, $0, $1) }
        }
        return left
    }

    private mutating func unary() -> Constants.Value {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.deepest, let token = rest.first else { return .unknown }
        let zero = Constants.Value.exact([0])
        switch (token.kind, token.text) {
        case (.punctuator, "-"):
            rest = rest.dropFirst()
            return Constants.combine(zero, unary(), "-") { $0 &- $1 }
        case (.punctuator, "~"):
            rest = rest.dropFirst()
            return Constants.combine(zero, unary(), "~") { ~$1 }
        case (.punctuator, "+"):
            rest = rest.dropFirst()
            return unary()
        case (.punctuator, "$"):
            rest = rest.dropFirst()
            guard let number = rest.first, number.kind == .number else { return unary() }
            rest = rest.dropFirst()
            // nasm's other way to write hexadecimal numbers.
            return Numeral.value(Substring(number.text), 16).map { .exact([$0]) } ?? .unknown
        // What a pointer points to, and an address, are not known.
        case (.punctuator, "*"), (.punctuator, "&"), (.punctuator, "!"):
            rest = rest.dropFirst()
            _ = unary()
            return .unknown
        case (.punctuator, "("): return parenthesis()
        case (.number, _):
            rest = rest.dropFirst()
            return constants.numeral(token.text).map { .exact([$0]) } ?? .unknown
        case (.character, _):
            rest = rest.dropFirst()
            return .exact([token.text.unicodeScalars.reduce(0) { $0 << 8 | Int($1.value) }])
        case (.identifier, _): return name()
        default:
            rest = rest.dropFirst()
            return .unknown
        }
    }

    /// A cast or an expression.
    private mutating func parenthesis() -> Constants.Value {
        let inside = Self.inside(rest)
        rest = rest[min(inside.endIndex + 1, rest.endIndex)...]
        let isType = inside.allSatisfy { ($0.kind == .identifier && constants.values[$0.text] == nil) || $0.isPunctuator("*") }
        if isType, !inside.isEmpty, let next = rest.first, next.kind != .punctuator || ["(", "-", "~"].contains(next.text) {
            return unary()
        }
        var parser = ConstantParser(constants: constants, rest: inside)
        parser.depth = depth
        return parser.expression()
    }

    /// A name with what selects from it: `COM2`, `s->port`, `PORT(5)`, `ports[0]`; known by its last part.
    private mutating func name() -> Constants.Value {
        var name = ""
        while let token = rest.first {
            if token.kind == .identifier {
                name = token.text
                rest = rest.dropFirst()
                while let open = rest.first, open.isPunctuator("(") || open.isPunctuator("[") {
                    rest = rest[min(Self.inside(rest).endIndex + 1, rest.endIndex)...]
                }
            }
            guard let select = rest.first, select.isPunctuator(".") || select.isPunctuator("->") else { break }
            rest = rest.dropFirst()
        }
        return constants.values[name] ?? .unknown
    }

    /// What stands between the bracket that `tokens` begin with and its partner.
    static func inside(_ tokens: ArraySlice<Token>) -> ArraySlice<Token> {
        var open = 0
        for index in tokens.indices where tokens[index].kind == .punctuator {
            switch tokens[index].text {
            case "(", "[", "{": open += 1
            case ")", "]", "}": open -= 1
            default: continue
            }
            if open == 0 { return tokens[(tokens.startIndex + 1)..<index] }
        }
        return tokens.dropFirst()
    }

    private static func compute(_ operation: String, _ a: Int, _ b: Int) -> Int? {
        switch operation {
        case "+": a &+ b
        case "-": a &- b
        case "*": a &* b
        case "/": b == 0 || b == -1 ? nil : a / b
        case "%": b == 0 || b == -1 ? nil : a % b
        case "<<": b >= 0 && b < 64 ? a << b : nil
        case ">>": b >= 0 && b < 64 ? a >> b : nil
        case "|": a | b
        case "&": a & b
        case "^": a ^ b
        case "==": a == b ? 1 : 0
        case "!=": a != b ? 1 : 0
        case "<": a < b ? 1 : 0
        case ">": a > b ? 1 : 0
        case "<=": a <= b ? 1 : 0
        case ">=": a >= b ? 1 : 0
        case "&&": a != 0 && b != 0 ? 1 : 0
        case "||": a != 0 || b != 0 ? 1 : 0
        default: nil
        }
    }
}
