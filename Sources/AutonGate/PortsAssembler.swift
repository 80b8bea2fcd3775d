/// Where assembly uses the harness's ports: nasm's, or gas's in a string of C.
struct PortsAssembler {
    private(set) var found: [Finding] = []
    /// The ports found.
    private(set) var ports: [Int] = []
    private var constants: Constants
    /// What DX is known to be.
    private var dx = Constants.Value.unknown
    private let isWhole: Bool
    /// What was last pushed.
    private var pushed = Constants.Value.unknown
    /// The arguments of the file's macros that are ports, counted from 0.
    private var takers: [String: Set<Int>] = [:]

    init(_ source: AssemblerSource) {
        constants = Constants(numeral: Numeral.nasm)
        isWhole = true
        let doesIO = source.lines.contains { $0.contains { $0.kind == .identifier && HarnessPorts.isInstruction($0.text) } }
        for line in source.lines { define(line) }
        learnMacros(source.lines)
        for line in source.lines { look(at: line, doesIO: doesIO) }
    }

    /// - Parameter doesIO: false for a text without `in` or `out`.
    init(gas text: Token, doesIO: Bool) {
        constants = Constants(numeral: Numeral.c)
        isWhole = false
        let lines = text.text.split { $0 == "\n" || $0 == ";" }.map { AssemblerSource(Array($0.utf8)).lines.flatMap { $0 } }
        for line in lines { look(at: line.filter { !$0.isPunctuator("$") && !$0.isPunctuator("%") }, doesIO: doesIO) }
    }

    /// `NAME equ 1`, `%define NAME 1`, `%assign NAME 1`
    private mutating func define(_ line: [Token]) {
        let words = line.filter { !$0.isPunctuator(":") && !$0.isPunctuator("%") }
        guard words.count > 2 else { return }
        if words[1].text.lowercased() == "equ" {
            constants.add(words[0].text, constants.value(of: words[2...]))
        } else if ["define", "xdefine", "idefine", "assign", "iassign"].contains(words[0].text.lowercased()) {
            constants.add(words[1].text, constants.value(of: words[2...]))
        } else {
            return
        }
        let name = words[1].text.lowercased() == "equ" ? words[0] : words[1]
        if HarnessPorts.isNameOfPort(name.text) { add(constants.values[name.text] ?? .unknown, name) }
    }

    /// `%macro OUT 2` with `mov dx, %1` in it takes a port.
    private mutating func learnMacros(_ lines: [[Token]]) {
        var name: String?
        for line in lines {
            let words = line.map { $0.text.lowercased() }
            if words.first == "%", words.count > 2 || name != nil {
                if words.count > 2, words[1].hasSuffix("macro"), words[1] != "endmacro" { name = line[2].text }
                if words.contains("endmacro") { name = nil }
            }
            guard let name, words.contains(where: { Self.registers.contains($0) || HarnessPorts.isInstruction($0) }) else {
                continue
            }
            for (mark, number) in zip(line, line.dropFirst()) where mark.isPunctuator("%") && number.kind == .number {
                if let place = Int(number.text), place > 0 { takers[name, default: []].insert(place - 1) }
            }
        }
    }

    private static let comparisons: Set<String> = ["cmp", "cmpb", "cmpw", "cmpl", "test", "if", "elif"]
    private static let registers: Set<String> = ["dx", "edx", "rdx", "dl", "dh"]

    private mutating func look(at line: [Token], doesIO: Bool) {
        guard let place = line.firstIndex(where: { $0.kind == .identifier && !$0.text.hasSuffix(":") }) else { return }
        // A label stands before the instruction.
        let start = line.indices.contains(place + 1) && line[place + 1].isPunctuator(":") ? place + 2 : place
        guard let word = line[min(start, line.count)...].first(where: { $0.kind == .identifier }) else { return }
        let mnemonic = word.text.lowercased()
        let operands = PortsC.Names.arguments(line[line.index(after: line.firstIndex(of: word) ?? start)...])
        if HarnessPorts.isInstruction(mnemonic) {
            for operand in operands { add(constants.value(of: operand), word) }
            // gas and nasm order their operands the other way round.
            if operands.contains(where: { $0.count == 1 && $0.first?.text.lowercased() == "dx" }) { add(dx, word) }
        } else if doesIO, let register = operands.flatMap({ $0 }).first(where: { Self.registers.contains($0.text.lowercased()) })
        {
            let values = operands.filter { !$0.contains { Self.registers.contains($0.text.lowercased()) } }.map {
                constants.value(of: Self.unbracketed($0))
            }
            change(register.text.lowercased(), mnemonic, values.first ?? .unknown)
            add(dx, word)
            if mnemonic.hasPrefix("lea"), let memory = operands.last { add(constants.value(of: Self.unbracketed(memory)), word) }
        } else if mnemonic.hasPrefix("push"), let operand = operands.first {
            pushed = constants.value(of: operand)
        } else if let positions = takers[word.text] {
            for position in positions where position < operands.count { add(constants.value(of: operands[position]), word) }
        }
        if ["db", "byte", ".byte"].contains(mnemonic) { bytes(operands.map { constants.value(of: $0) }, word) }
        if !Self.comparisons.contains(mnemonic) { numbers(in: line) }
    }

    private mutating func change(_ register: String, _ mnemonic: String, _ value: Constants.Value) {
        func combine(_ compute: (Int, Int) -> Int?) {
            dx = Constants.combine(dx, value, "") { compute($0, $1).map { $0 & 0xffff } }
        }
        switch (mnemonic.prefix(3), register) {
        case ("mov", "dl"), ("mov", "dh"):
            let isLow = register == "dl"
            combine { isLow ? $0 & 0xff00 | $1 & 0xff : $0 & 0xff | ($1 & 0xff) << 8 }
        case ("mov", _): dx = value
        case ("pop", _): dx = pushed
        case ("add", _): combine { $0 &+ $1 }
        case ("sub", _): combine { $0 &- $1 }
        case ("or", _), ("orw", _), ("orl", _): combine { $0 | $1 }
        case ("xor", _) where value == .unknown: dx = .exact([0])
        case ("xor", _): combine { $0 ^ $1 }
        case ("inc", _): dx = Constants.combine(dx, .exact([1]), "+") { $0 &+ $1 }
        case ("dec", _): dx = Constants.combine(dx, .exact([1]), "-") { $0 &- $1 }
        default: return
        }
    }

    /// The machine code of `in` and `out` with the port in it.
    private mutating func bytes(_ values: [Constants.Value], _ word: Token) {
        for (code, port) in zip(values, values.dropFirst()) {
            if case .exact(let codes) = code, !codes.isDisjoint(with: 0xe4...0xe7) { add(port, word) }
        }
    }

    private mutating func numbers(in line: [Token]) {
        for (index, word) in line.enumerated() where word.kind == .number {
            let previous = index > 0 ? line[index - 1] : nil
            // nasm's $0f8 is hexadecimal.
            let hexadecimal = isWhole && previous?.isPunctuator("$") == true ? Numeral.value(Substring(word.text), 16) : nil
            guard let value = hexadecimal ?? constants.numeral(word.text), HarnessPorts.telling.contains(value) else { continue }
            if Int(word.text) == nil || word.text.first == "0" { add(.exact([value]), word) }
        }
    }

    private static func unbracketed(_ operand: ArraySlice<Token>) -> ArraySlice<Token> {
        operand.first?.isPunctuator("[") == true ? ConstantParser.inside(operand) : operand
    }

    private mutating func add(_ value: Constants.Value, _ word: Token) {
        for port in HarnessPorts.among(value) {
            ports.append(port)
            found.append(Finding(what: "uses the port \(HarnessPorts.shown(port)), which is the harness's", line: word.line))
        }
    }
}
