import AutonKit
import Testing

@Suite struct CapturedOutputTests {
    private func captured(_ text: String, limit: Int, step: Int) -> CapturedOutput {
        var output = CapturedOutput(limit: limit)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            output.append(rest.prefix(step))
            rest = rest.dropFirst(step)
        }
        return output
    }

    @Test(arguments: [1, 3, 10, 1000])
    func whatFitsIsKept(step: Int) {
        let output = captured("0123456789", limit: 10, step: step)
        #expect(output.text == "0123456789")
        #expect(output.bytes == Array("0123456789".utf8))
        #expect(output.total == 10)
    }

    @Test(arguments: [1, 3, 7, 1000])
    func headAndTailRemainOfMore(step: Int) {
        let output = captured("01234" + String(repeating: "x", count: 990) + "56789", limit: 10, step: step)
        #expect(output.text == "01234\n[… 990 bytes left out …]\n56789")
        #expect(output.total == 1000)
    }

    @Test func theCountIsExact() {
        #expect(captured("0123456789a", limit: 10, step: 4).text == "01234\n[… 1 bytes left out …]\n6789a")
    }

    @Test func aFloodCostsNoMemory() {
        var output = CapturedOutput(limit: 1000)
        let chunk = [UInt8](repeating: 65, count: 64 << 10)
        for _ in 0..<1000 { output.append(chunk) }
        #expect(output.total == 1000 * chunk.count)
        #expect(output.bytes.count <= 1500 + chunk.count)
        #expect(output.text.utf8.count < 1100)
    }

    @Test func nothingIsNothing() {
        #expect(CapturedOutput(limit: 10).text == "")
    }
}
