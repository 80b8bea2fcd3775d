import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

@Suite struct TranscriptTests {
    private let directory: TemporaryDirectory
    private let path: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        path = directory["t.jsonl"]
    }

    private func twoTurns() throws -> Transcript {
        var transcript = try Transcript(reading: path)
        try transcript.append(opening())
        for text in ["first", "second"] {
            try transcript.append(request: [.user(text)])
            try transcript.append(reply(("list", [:]), text: "to \(text)"))
        }
        return transcript
    }

    private func lines() throws -> [String] { try directory.read("t.jsonl").split(separator: "\n").map(String.init) }

    @Test func whatIsAppendedIsRead() throws {
        let written = try twoTurns(), read = try Transcript(reading: path)
        #expect(read.opening == opening())
        #expect(read.requests == [[.user("first")], [.user("second")]] && read.requests == written.requests)
        #expect(read.responses.map(\.text) == ["to first", "to second"] && read.responses == written.responses)
        #expect(read.usage.input == 200 && read.usage.output == 20)
        let first = try lines()[0]
        #expect(first.hasPrefix(#"{"format":1,"opening":{"#) && first.hasSuffix(#""type":"opening"}"#))
    }

    @Test func thereMayBeNone() throws {
        let transcript = try Transcript(reading: path)
        #expect(transcript.opening == nil && transcript.requests.isEmpty)
        #expect(!Files.exists(path))
    }

    /// A kill in the middle of a write, at any byte.
    @Test func aTornLastLineDoesNotCount() throws {
        _ = try twoTurns()
        let bytes = try Files.read(path), last = try lines().last!.utf8.count
        for cut in stride(from: bytes.count - last - 1, to: bytes.count, by: 7) {
            try Files.write(path, Array(bytes[..<cut]), sync: false)
            var transcript = try Transcript(reading: path)
            #expect(transcript.requests.count == 2 && transcript.responses.count == 1)
            try transcript.append(reply(("list", [:]), text: "to second"))
            #expect(try Files.read(path) == bytes, "cut at \(cut)")
        }
    }

    @Test func aTranscriptThatIsGoneIsNotBegunInTheMiddle() async throws {
        var transcript = try twoTurns()
        try Files.removeTree(path)
        let error = await failure { try transcript.append(request: [.user("third")]) }
        #expect(error?.status == .tryAgain && error?.what == "somebody else has shortened the transcript")
    }

    @Test func aTornOpeningIsWrittenAgain() throws {
        try directory.write("t.jsonl", #"{"format":1,"open"#)
        #expect(try twoTurns().responses.count == 2)
        #expect(try lines().count == 5)
    }

    @Test(arguments: [
        [1, 0, 2], [0, 2], [0, 1, 1], [0, 1, 3], [0, 1, 2, 2], [0, 1, 2, 4], [0, 0], [0, 1, 2, 3, 4, 0], [1, 2], [0, 3],
    ])
    func linesOutOfOrderAreRefused(_ order: [Int]) async throws {
        _ = try twoTurns()
        let lines = try lines()
        try directory.write("t.jsonl", order.map { lines[$0] + "\n" }.joined())
        let error = await failure { try Transcript(reading: path) }
        #expect(error?.status == .badInput)
        #expect(error?.what == "transcript line out of order")
    }

    @Test(arguments: ["", "{}", "nonsense", #"{"type":"opening","format":2,"opening":{}}"#, #"{"type":"joke"}"#])
    func malformedLinesAreRefusedWithTheirNumber(_ line: String) async throws {
        _ = try twoTurns()
        try directory.write("t.jsonl", try lines()[0] + "\n" + line + "\n")
        let error = await failure { try Transcript(reading: path) }
        #expect(error?.status == .badInput)
        #expect(error?.description.contains("\(path)") == true || error?.what.contains("unknown transcript") == true)
    }

    @Test func itGrowsWithTheConversationAndNotWithItsSquare() throws {
        var transcript = try Transcript(reading: path)
        try transcript.append(opening())
        var sizes: [Int] = []
        for turn in 1...60 {
            try transcript.append(request: [.user(String(repeating: "x", count: 1000))])
            try transcript.append(reply(("list", [:])))
            if turn % 20 == 0 { sizes.append(try Files.read(path).count) }
        }
        #expect(sizes[2] - sizes[1] < (sizes[1] - sizes[0]) + 1000)
    }

    @Test func provenanceNamesTheFilesDigest() async throws {
        let provenance = try await twoTurns().provenance()
        let sum = try await Command("sha256sum", [path.string]).run().output.text.prefix(64)
        #expect(provenance.transcript == "sha256:\(sum)")
        #expect(provenance.model == "scripted" && provenance.turns == 2 && provenance.usage.output == 20)
    }
}
