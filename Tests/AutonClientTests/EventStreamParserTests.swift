import Testing

@testable import AutonClient

@Suite struct EventStreamParserTests {
    struct Event: Equatable {
        var type = ""
        var data: String
    }

    private func parse(_ pieces: [ArraySlice<UInt8>]) -> [Event] {
        var parser = EventStreamParser()
        var events: [Event] = []
        for piece in pieces {
            piece.withUnsafeBytes { bytes in
                parser.feed(bytes) { events.append(Event(type: $0, data: String(decoding: $1, as: UTF8.self))) }
            }
        }
        return events
    }

    private func parse(_ text: String) -> [Event] { parse([Array(text.utf8)[...]]) }

    private static let stream = """
        : hello\n\nevent: message_start\ndata: {"a":"ü€🙂"}\n\nevent:ping\ndata\n\ndata: one\ndata:  two\ndata:\n\n
        id: 7\nretry: 1\nunknown: x\ndata: last\n\n
        """
    private static let events = [
        Event(type: "message_start", data: #"{"a":"ü€🙂"}"#), Event(type: "ping", data: ""), Event(data: "one\n two\n"),
        Event(data: "last"),
    ]

    @Test(arguments: ["\n", "\r\n", "\r"])
    func everyLineEndAtEveryBoundary(lineEnd: String) {
        let bytes = Array(Self.stream.replacing("\n", with: lineEnd).utf8)
        for cut in 0...bytes.count { #expect(parse([bytes[..<cut], bytes[cut...]]) == Self.events, "cut at \(cut)") }
        #expect(parse(bytes.indices.map { bytes[$0...$0] }) == Self.events)
    }

    @Test func aByteOrderMarkIsNoPartOfTheFirstLine() {
        let bytes = [0xEF, 0xBB, 0xBF] + Array("data: x\n\n\u{FEFF}data: y\n\n".utf8)
        for cut in 0...bytes.count { #expect(parse([bytes[..<cut], bytes[cut...]]) == [Event(data: "x")]) }
        #expect(parse("\u{FEFF}event: e\ndata: x\n\n") == [Event(type: "e", data: "x")])
    }

    @Test(arguments: [
        // What has not ended is none yet.
        ("data: x\n", []),
        ("data: x", []),
        // No data, no event; and its type is not the next one's.
        ("event: a\n\ndata: x\n\n", [Event(data: "x")]),
        ("event: a\nevent: b\ndata: x\n\n", [Event(type: "b", data: "x")]),
        ("Data: x\ndatas: x\ndat: x\n:data: x\ndatadatadata: x\n\n", []),
        ("data:x:y\n\n", [Event(data: "x:y")]),
        ("\n\n\r\n\rdata: x\r\n\r\n", [Event(data: "x")]),
        ("event\ndata: x\n\n", [Event(data: "x")]),
    ])
    func oddities(text: String, events: [Event]) {
        #expect(parse(text) == events)
    }
}
