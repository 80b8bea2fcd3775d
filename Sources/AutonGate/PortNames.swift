extension PortsC {
    /// What the names of a change's C files stand for, and which functions take a port.
    struct Names {
        private(set) var constants = Constants(numeral: Numeral.c)
        /// The places of the arguments that are ports, by function.
        private(set) var takers: [String: Set<Int>] = [:]

        private static let functions = [
            "outb", "outw", "outl", "inb", "inw", "inl", "out8", "out16", "out32", "in8", "in16", "in32", "outsb", "outsw",
            "outsl", "insb",
            "insw", "insl", "io_outb", "io_inb", "port_outb", "port_inb", "io_write8", "io_read8", "outportb", "inportb",
        ]

        private static let mostParameters = 32

        init(_ sources: [CSource]) {
            for function in Self.functions { takers[function] = [0] }
            // Names stand for other names, and functions hand on to functions: twice more is enough for what a person writes.
            for _ in 0..<3 {
                for source in sources { learn(source) }
            }
        }

        private mutating func learn(_ source: CSource) {
            for directive in source.macros {
                guard let name = directive.words.first else { continue }
                var body = directive.words.dropFirst()
                if body.first?.isPunctuator("(") == true, !ConstantParser.inside(body).isEmpty || body.count > 2,
                    ConstantParser.inside(body).allSatisfy({
                        $0.kind == .identifier || $0.isPunctuator(",") || $0.isPunctuator("...")
                    }),
                    ConstantParser.inside(body).endIndex + 1 < body.endIndex
                {
                    let parameters = Self.arguments(ConstantParser.inside(body)).map { $0.first?.text ?? "" }
                    body = body[(ConstantParser.inside(body).endIndex + 1)...]
                    take(name.text, parameters, body)
                }
                constants.add(name.text, constants.value(of: body))
            }
            assignments(in: source.tokens)
            for unit in source.units where unit.kind == .function {
                let head = source.tokens[unit.words.lowerBound..<(unit.body ?? unit.words.upperBound)]
                guard let open = head.lastIndex(where: { $0.isPunctuator("(") }) else { continue }
                let parameters = Self.arguments(ConstantParser.inside(head[open...])).map {
                    $0.last { $0.kind == .identifier }?.text ?? ""
                }
                take(unit.name, parameters, source.tokens[(unit.body ?? unit.words.upperBound)..<unit.words.upperBound])
            }
        }

        /// `NAME = expression`, in enumerations, declarations and statements; an enumerator without a value follows the one before.
        private mutating func assignments(in words: [Token]) {
            for index in words.indices.dropFirst().dropLast() where words[index].kind == .punctuator {
                let name = words[index - 1]
                guard name.kind == .identifier, ["=", "+=", "|=", "-="].contains(words[index].text) else { continue }
                let value = constants.value(of: words[(index + 1)...])
                if words[index].text == "=" {
                    constants.add(name.text, value)
                } else if let before = constants.values[name.text] {
                    let isLess = words[index].text == "-="
                    constants.add(
                        name.text, Constants.combine(before, value, isLess ? "-" : "+") { isLess ? $0 &- $1 : $0 &+ $1 })
                }
            }
            for index in words.indices where words[index].isIdentifier("enum") {
                guard let open = words[index...].prefix(3).firstIndex(where: { $0.isPunctuator("{") }) else { continue }
                var last = Constants.Value.exact([-1])
                for item in Self.arguments(ConstantParser.inside(words[open...])) {
                    guard let name = item.first else { continue }
                    let sets = item.count > 2 && item[item.startIndex + 1].isPunctuator("=")
                    last = sets ? constants.value(of: item.dropFirst(2)) : Constants.combine(last, .exact([1]), "+") { $0 &+ $1 }
                    constants.add(name.text, last)
                }
            }
        }

        /// Learns which parameters reach `in` or `out` in `body`.
        private mutating func take(_ function: String, _ parameters: [String], _ body: ArraySlice<Token>) {
            var operands = Self.assembly(in: body).filter(Self.doesIO).flatMap(Self.operands)
            for index in body.indices.dropLast() where body[index].kind == .identifier && body[index + 1].isPunctuator("(") {
                guard let positions = takers[body[index].text] else { continue }
                let arguments = Self.arguments(ConstantParser.inside(body[(index + 1)...]))
                operands += positions.filter { $0 < arguments.count }.map { arguments[$0] }
            }
            for operand in operands {
                for (place, name) in parameters.prefix(Self.mostParameters).enumerated()
                where operand.contains(where: { $0.isIdentifier(name) }) {
                    takers[function, default: []].insert(place)
                }
            }
        }

        /// The words between commas.
        static func arguments(_ words: ArraySlice<Token>) -> [ArraySlice<Token>] {
            var depth = 0
            return words.split(omittingEmptySubsequences: false) { word in
                guard word.kind == .punctuator else { return false }
                if ["(", "[", "{"].contains(word.text) { depth += 1 }
                if [")", "]", "}"].contains(word.text) { depth -= 1 }
                return word.text == "," && depth == 0
            }
        }

        /// What stands in the parentheses of each `asm`.
        static func assembly(in words: ArraySlice<Token>) -> [ArraySlice<Token>] {
            words.indices.filter { words[$0].isAsm }.compactMap { index in
                words[index...].prefix(4).firstIndex { $0.isPunctuator("(") }.map { ConstantParser.inside(words[$0...]) }
            }
        }

        static func doesIO(_ text: String) -> Bool {
            text.split { !($0.isLetter || $0.isNumber) }.contains { HarnessPorts.isInstruction(String($0)) }
        }

        /// Whether the text of an `asm` does.
        static func doesIO(_ statement: ArraySlice<Token>) -> Bool {
            statement.first { $0.kind == .string }.map { doesIO($0.text) } ?? false
        }

        /// The expressions of operands that may be a port: not those that are in AL, AX or EAX.
        static func operands(of statement: ArraySlice<Token>) -> [ArraySlice<Token>] {
            statement.indices.dropLast().compactMap { index in
                guard statement[index].kind == .string, statement[index + 1].isPunctuator("("),
                    !statement[index].text.contains("a")
                else { return nil }
                return ConstantParser.inside(statement[(index + 1)...])
            }
        }

        /// The names that a file defines, each with its line.
        static func definitions(in source: CSource) -> [(String, Int)] {
            let macros = source.macros.compactMap { $0.words.first }
            let others = zip(source.tokens, source.tokens.dropFirst()).filter { $1.isPunctuator("=") && $0.kind == .identifier }
                .map(\.0)
            return (macros + others).map { ($0.text, $0.line) }
        }
    }
}
