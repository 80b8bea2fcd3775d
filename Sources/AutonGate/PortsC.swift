/// Where a C file uses the harness's ports.
struct PortsC {
    private(set) var found: [Finding] = []
    private let source: CSource
    private let names: Names

    /// Of these none drives a device: a number there may be anything, a letter, a right, a guest's port, unless the file does input or output.
    private static let withoutDevices = ["lib", "ipc", "nl", "llm", "hv"].flatMap {
        ["\($0)/", "tests/\($0)_", "include/\($0)/"]
    }

    init(_ source: CSource, _ names: Names, path: String) {
        (self.source, self.names) = (source, names)
        for words in source.pieces {
            calls(in: words)
            assembly(in: words)
        }
        if Self.withoutDevices.contains(where: path.hasPrefix) && !source.pieces.contains(where: doesIO) { return }
        for words in source.pieces { numbers(in: words) }
        // What a name stands for is a finding where the name says that it is a port.
        for (name, line) in Names.definitions(in: source) where HarnessPorts.isNameOfPort(name) {
            for port in HarnessPorts.among(names.constants.values[name] ?? .unknown) { add(port, line) }
        }
    }

    private mutating func calls(in words: [Token]) {
        for index in words.indices.dropLast() {
            guard words[index].kind == .identifier, words[index + 1].isPunctuator("("),
                let positions = names.takers[words[index].text]
            else { continue }
            let arguments = Names.arguments(ConstantParser.inside(words[(index + 1)...]))
            for position in positions where position < arguments.count {
                for port in HarnessPorts.among(names.constants.value(of: arguments[position])) { add(port, words[index].line) }
            }
        }
    }

    /// Inline assembly: the numbers in its text; if it does input or output, its operands.
    private mutating func assembly(in words: [Token]) {
        for statement in Names.assembly(in: words[...]) {
            guard let text = statement.first(where: { $0.kind == .string }) else { continue }
            let doesIO = Names.doesIO(text.text)
            for port in PortsAssembler(gas: text, doesIO: doesIO).ports { add(port, text.line) }
            guard doesIO else { continue }
            for operand in Names.operands(of: statement) {
                for port in HarnessPorts.among(names.constants.value(of: operand)) { add(port, text.line) }
            }
        }
    }

    private static let comparisons: Set<String> = ["==", "!=", "<", ">", "<=", ">="]
    private static let parts: Set<String> = ["+", "-", "|", "<<", "*", "(", ")", "~", "^", "&"]

    /// Numbers, and expressions of numbers alone, that are hardly anything but such a port, but for what is compared
    /// with them.
    private mutating func numbers(in words: [Token]) {
        let plain = Constants(numeral: Numeral.c)
        let doesIO = doesIO(words)
        var enumerators = 0..<0
        var index = 0
        while index < words.count {
            if words[index].isIdentifier("enum"), let open = words[index...].prefix(3).firstIndex(where: { $0.isPunctuator("{") })
            {
                enumerators = ConstantParser.inside(words[open...]).indices
            }
            guard words[index].kind == .number else {
                index += 1
                continue
            }
            var start = index, end = index + 1
            while end < words.count,
                words[end].kind == .number || (words[end].kind == .punctuator && Self.parts.contains(words[end].text))
            { end += 1 }
            while start > 0, words[start - 1].isPunctuator("(") { start -= 1 }
            let before = start > 0 ? words[start - 1] : nil, after = end < words.count ? words[end] : nil
            let isCompared = [before, after].contains {
                $0.map { Self.comparisons.contains($0.text) || $0.isIdentifier("case") } ?? false
            }
            // A decimal number may be any number.
            let isDecimal = words[index..<end].allSatisfy { $0.kind != .number || $0.text.first != "0" }
            // So may an enumerator where nothing is read or written: where it is used, its value is known.
            let isFree = isCompared || isDecimal || (!doesIO && enumerators.contains(index))
            if !isFree, case .exact(let values) = plain.value(of: words[index..<end]) {
                for port in values.filter(HarnessPorts.telling.contains) { add(port, words[index].line) }
            }
            index = end
        }
    }

    /// Whether a function that takes a port is called, or assembly does.
    private func doesIO(_ words: [Token]) -> Bool {
        zip(words, words.dropFirst()).contains { $1.isPunctuator("(") && names.takers[$0.text] != nil }
            || Names.assembly(in: words[...]).contains(where: Names.doesIO)
    }

    private mutating func add(_ port: Int, _ line: Int) {
        found.append(Finding(what: "uses the port \(HarnessPorts.shown(port)), which is the harness's", line: line))
    }
}
