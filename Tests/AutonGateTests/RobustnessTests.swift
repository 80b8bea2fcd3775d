import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

/// Whatever an agent commits, the rules end, and say the same every time.
@Suite struct RobustnessTests {
    private static let pieces = [
        "\"", "'", "/*", "*/", "//", "\\\n", "\n", "#", "%:", "??/", "{", "}", "(", ")", "[", "]", ";", ",", "##", "KTEST(a, b)",
        "KASSERT(1);", "return",
        "#if 0\n", "#endif\n", "#else\n", "#define A(x) ", "enum {", "= ", "0x2f8", "outb(", "asm(\"", "'\\x", "R\"(", "<:", "\\",
        "\u{0}", "$", "%macro a 1\n", "%endmacro\n",
        "db ", "`\\", "\u{e9}", "\"\\x\"", "-", "~", "? : ", "...", "struct ktest", "report_", "do {", "for (;;)", "0x", "9'9",
        "1e+", "L'", "?",
    ]

    @Test(arguments: 0..<4) func anyText(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let kernel = try Files.read(Scaffold.kernel.appending("tests/drivers_serial.c"))
        for round in 0..<8 {
            var text: [UInt8] = []
            if round % 2 == 0 {
                for _ in 0..<Int.random(in: 0..<200, using: &random) { text += Self.pieces.randomElement(using: &random)!.utf8 }
            } else {
                // An honest file, cut off and with pieces strewn in.
                text = Array(kernel.prefix(Int.random(in: 0..<6000, using: &random)))
                for _ in 0..<20 {
                    text.insert(
                        contentsOf: Self.pieces.randomElement(using: &random)!.utf8,
                        at: Int.random(in: 0...text.count, using: &random))
                }
            }
            let old = String(decoding: text.dropLast(text.count / 3), as: UTF8.self), new = String(decoding: text, as: UTF8.self)
            for path in ["tests/a.c", "mm/a.h", "boot/a.asm"] {
                let change = Change(files: [
                    .made(path, from: old, to: new), .made("x" + path, to: new), .made(path + ".c", from: new, to: nil),
                ])
                for rule in DiffRules.all(paths: ["tests/"]) {
                    #expect(rule.violations(in: change) == rule.violations(in: change))
                }
                #expect(change.summary(base: "") == change.summary(base: ""))
            }
        }
    }

    /// What is found is told in little, however long a line is and however often it is there.
    @Test(arguments: [
        ("boot/a.asm", "incbin "), ("boot/a.asm", "[map "), ("boot/a.asm", "report_text "), ("mm/a.c", "report_text "),
        ("mm/a.c", "__asm__(\".incbin\");"), ("mm/a.c", "\u{b}\n"),
    ])
    func longLines(path: String, piece: String) {
        let file = ChangedFile.made(path, to: String(repeating: piece, count: Change.largestFile / piece.utf8.count))
        for rule in DiffRules.all(paths: nil) {
            let found = rule.violations(in: file)
            #expect(found.count <= 2 * SourceFindings.most && found.allSatisfy { $0.utf8.count < 400 }, "\(found.prefix(1))")
        }
        #expect(DiffRules.all(paths: nil).contains { !$0.violations(in: file).isEmpty })
    }

    /// Macros that hand on to one another what goes to the assembler, as many as a file has room for.
    @Test(.timeLimit(.minutes(1))) func aChainOfMacros() {
        let chain = (1..<11_000).map { "#define b\($0)(x)b\($0 - 1)(x)\n" }.joined()
        let call = "void f(void) { b10999(\"call report_end\"); }\n"
        let file = ChangedFile.made("mm/a.c", to: "#define b0(x)__asm__(x)\n" + chain + call)
        #expect(ReservedRule().violations(in: file).map { $0.contains("names report_end of the harness in assembly") } == [true])
    }

    /// Deep and long input neither overflows a stack nor takes for ever.
    @Test(arguments: [
        "(", "{", "[", "-", "~", "!", "*", "+1", "0x2f8 ? ", "#if 1\n", "a = ", "f(", "a ## ", "\"x\" ", "0x2f8 + ", "<:",
        "KTEST(a,", ";", "asm(\"\" : : \"d\"(",
    ])
    func depth(piece: String) {
        for prefix in ["void f(void) { outb(", "#define A ", "KTEST(a, b) { KASSERT("] {
            let text = prefix + String(repeating: piece, count: 1000)
            for path in ["tests/a.c", "boot/a.asm"] {
                let change = Change(files: [.made(path, from: text, to: text + ")")])
                for rule in DiffRules.all(paths: nil) { _ = rule.violations(in: change) }
                _ = change.summary(base: "")
            }
        }
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
