/// A definition or declaration at the top level of a C file.
struct CUnit: Sendable {
    enum Kind: Sendable { case function, test, benchmark, figure, panic, declaration }

    var kind: Kind
    /// `kernel_main`; of a test, benchmark, figure or panic `mm.frames`; of a declaration the name that it declares.
    var name: String
    /// Its words in the file, from the first to the closing brace or semicolon.
    var words: Range<Int>
    /// Where its body begins, if it has one.
    var body: Int?
    var lines: ClosedRange<Int>

    var isCode: Bool { kind != .declaration }
}

extension CSource {
    /// `static` comes before the name; it may mean something else after it.
    func isStatic(_ unit: CUnit) -> Bool {
        tokens[unit.words].prefix { !$0.isIdentifier(unit.name) }.contains { $0.isIdentifier("static") }
    }

    /// Finds the units of the file.
    ///
    /// - Returns: how deep its brackets, or its conditions, are nested.
    mutating func findUnits() -> Int {
        var deepest = 0
        var start = 0, depth = 0, body: Int?, isFunction = false
        var branches: [Int] = []
        var waiting = directives[...]
        for (index, token) in tokens.enumerated() {
            // Each branch of a condition begins at the depth at which the condition began.
            while let directive = waiting.first, directive.position <= index {
                waiting = waiting.dropFirst()
                switch directive.name {
                case "if", "ifdef", "ifndef":
                    branches.append(depth)
                    deepest = max(deepest, branches.count)
                case "else", "elif": depth = branches.last ?? depth
                case "endif": _ = branches.popLast()
                default: break
                }
            }
            guard token.kind == .punctuator else { continue }
            var ends = false
            switch token.text {
            case "{":
                if depth == 0 && body == nil {
                    body = index
                    isFunction = Self.isFunctionHead(tokens[start..<index])
                }
                depth += 1
            case "(", "[": depth += 1
            case ")", "]": depth = max(0, depth - 1)
            case "}":
                depth = max(0, depth - 1)
                ends = depth == 0 && isFunction
            case ";": ends = depth == 0
            default: continue
            }
            deepest = max(deepest, depth)
            guard ends else { continue }
            units.append(unit(start...index, body: isFunction ? body : nil))
            (start, body, isFunction) = (index + 1, nil, false)
        }
        return deepest
    }

    private func unit(_ words: ClosedRange<Int>, body: Int?) -> CUnit {
        let lines = tokens[words.lowerBound].line...max(tokens[words.lowerBound].line, tokens[words.upperBound].line)
        let head = tokens[words.lowerBound..<(body ?? words.upperBound)]
        var kind = body == nil ? CUnit.Kind.declaration : .function
        var name = Self.declaredName(head)
        if let first = head.first, body != nil, head.count >= 6, let registered = Self.registering[first.text] {
            kind = registered
            name = head.dropFirst(2).dropLast().filter { !$0.isPunctuator(",") }.map(\.text).joined(separator: ".")
        }
        return CUnit(kind: kind, name: name, words: words.lowerBound..<(words.upperBound + 1), body: body, lines: lines)
    }

    /// The macros that register what they define with the harness.
    private static let registering: [String: CUnit.Kind] = [
        "KTEST": .test, "KBENCH": .benchmark, "KFIGURE": .figure, "KPANIC": .panic,
    ]

    /// `… name(…)` and no initialiser.
    private static func isFunctionHead(_ head: ArraySlice<Token>) -> Bool {
        head.last?.isPunctuator(")") == true && !head.contains { $0.isPunctuator("=") }
    }

    private static let notNames: Set<String> = [
        "__attribute__", "__attribute", "_Alignas", "__typeof__", "typeof", "__asm__", "__asm", "asm", "void", "int", "char",
        "bool",
        "long", "unsigned", "sizeof", "_Static_assert",
    ]

    /// The identifier that the first parenthesis belongs to, or the last before `=`, `[` or the end.
    private static func declaredName(_ head: ArraySlice<Token>) -> String {
        var last = ""
        var index = head.startIndex
        while index < head.endIndex {
            let token = head[index]
            if token.kind == .identifier, !notNames.contains(token.text) { last = token.text }
            if token.isPunctuator("=") || (token.isPunctuator("[") && !last.isEmpty) { break }
            if token.isPunctuator("{") {
                let inside = ConstantParser.inside(head[index...])
                // Of an enumeration without a name, its first member's.
                if last == "enum", let first = inside.first { return first.text }
                index = inside.endIndex
            }
            if token.isPunctuator("("), index > head.startIndex {
                let before = head[index - 1]
                if before.kind == .identifier, !notNames.contains(before.text) { return before.text }
                // `void (name)(…)`
                let inside = ConstantParser.inside(head[index...])
                if let only = inside.last, only.kind == .identifier, !notNames.contains(before.text) || before.text == "void" {
                    return only.text
                }
                index = inside.endIndex
            }
            index += 1
        }
        return last
    }
}
