import AutonKit
import Foundation
import Glibc
import SystemPackage
import Synchronization
import TestSupport
import Testing

@testable import AutonModel

@Suite(.serialized) struct FileTransportTests {
    private let directory: TemporaryDirectory
    private let transport: FileTransport
    private let reports = Reports()
    private let turn = Turn(conversation: "boot-001.1", number: 1)

    final class Reports: Sendable { let lines = Mutex<[String]>([]) }

    init() throws {
        directory = try TemporaryDirectory()
        transport = FileTransport(directory: directory["desk"]) { [reports] line in reports.lines.withLock { $0.append(line) } }
        try Files.createDirectories(directory["desk"])
    }

    private func request(_ text: String = "hi") -> MessagesRequest {
        MessagesRequest(model: "m", maxTokens: 9, system: "s", tools: [], messages: [.user(text)])
    }

    private var question: FilePath { FileTransport.request(turn, in: directory["desk"]) }
    private var answer: FilePath { FileTransport.response(turn, in: directory["desk"]) }

    /// Does something in a thread of its own as soon as a file is there; the transport holds one while it waits.
    private func when(_ condition: @escaping @Sendable () -> Bool, _ body: @escaping @Sendable () throws -> Void) {
        Thread.detachNewThread {
            for _ in 0..<3000 where !condition() { usleep(10_000) }
            do { try body() } catch { Issue.record(error) }
        }
    }

    private func json(_ text: String) throws -> [UInt8] { try CompactJSON.encode(reply(text: text)) }

    /// So that whoever answers need not wait for nothing; a conversation that goes on takes it back.
    @Test func aConversationThatIsOverSaysSo() async throws {
        let over = directory["desk/boot-001.1.over"]
        try transport.close("boot-001.1")
        #expect(Files.exists(over))
        try Files.write(question, try CompactJSON.encode(request()), sync: false)
        try Files.write(answer, try json("again"), sync: false)
        _ = try await transport.respond(to: request(), at: turn)
        #expect(!Files.exists(over))
    }

    @Test func aQuestionGoesOutAndItsAnswerComesIn() async throws {
        when({ [question] in Files.exists(question) }) { [answer, directory] in
            let seen = try Files.read(directory["desk/boot-001.1.1.request.json"])
            #expect(try CompactJSON.decode(MessagesRequest.self, from: seen, at: "") == request())
            try Files.replace(answer, try json("ho"))
        }
        #expect(try await transport.respond(to: request(), at: turn).text == "ho")
        #expect(try Files.list(directory["desk"]).count == 2)
        try transport.settle(turn, reply(text: "ho"))
        #expect(try Files.list(directory["desk"]) == [])
        try transport.settle(turn, reply(text: "ho"))
    }

    @Test func anAnswerThatCameWhileNobodyWaitedIsTaken() async throws {
        try Files.replace(question, CompactJSON.encode(request()))
        try Files.replace(answer, json("early"))
        #expect(try await transport.respond(to: request(), at: turn).text == "early")
    }

    @Test func anAnswerToAnotherQuestionIsStale() async throws {
        try Files.replace(question, CompactJSON.encode(request("another question")))
        try Files.replace(answer, json("stale"))
        when({ [answer] in !Files.exists(answer) }) { [answer] in try Files.replace(answer, try json("fresh")) }
        #expect(try await transport.respond(to: request(), at: turn).text == "fresh")
        #expect(try Files.read(question) == CompactJSON.encode(request()))
    }

    @Test func anAnswerWithoutItsQuestionIsStale() async throws {
        try Files.replace(answer, json("from nowhere"))
        when({ [question, answer] in Files.exists(question) && !Files.exists(answer) }) { [answer] in
            try Files.replace(answer, try json("fresh"))
        }
        #expect(try await transport.respond(to: request(), at: turn).text == "fresh")
    }

    @Test func malformedAnswersAreSetAside() async throws {
        let rejected = FilePath(answer.string + ".rejected")
        try Files.replace(question, CompactJSON.encode(request()))
        try Files.write(answer, Array("{\"id\":1}".utf8), sync: false)
        when({ Files.exists(rejected) }) { [answer, reports] in
            try Files.write(answer, Array("no json".utf8), sync: false)
            while reports.lines.withLock({ $0.count }) < 2 { usleep(10_000) }
            try Files.replace(answer, try json("at last"))
        }
        #expect(try await transport.respond(to: request(), at: turn).text == "at last")
        #expect(try Files.readText(rejected) == "no json")
        #expect(reports.lines.withLock { $0.count } == 2)
        #expect(
            reports.lines.withLock {
                $0.allSatisfy { $0.hasPrefix("malformed JSON: ") && $0.hasSuffix("set aside, waiting for another") }
            })
    }

    /// What a shell makes of `model <request >response`: the file is there, empty, long before the answer.
    @Test func anEmptyFileIsNoAnswerYet() async throws {
        try Files.replace(question, CompactJSON.encode(request()))
        try Files.write(answer, [], sync: false)
        Thread.detachNewThread { [answer] in
            usleep(1_500_000)
            let file = try? FileDescriptor.open(answer, .writeOnly)
            _ = try? file?.closeAfter { try file?.writeAll(try json("slow")) }
        }
        #expect(try await transport.respond(to: request(), at: turn).text == "slow")
        #expect(reports.lines.withLock { $0 } == [])
    }

    @Test func conversationsDoNotMeet() async throws {
        let other = Turn(conversation: "mm-001.1", number: 1)
        try Files.replace(FileTransport.request(other, in: directory["desk"]), CompactJSON.encode(request("other")))
        try Files.replace(FileTransport.response(other, in: directory["desk"]), json("to the other"))
        try Files.replace(question, CompactJSON.encode(request()))
        try Files.replace(answer, json("to this one"))
        #expect(try await transport.respond(to: request(), at: turn).text == "to this one")
        #expect(try await transport.respond(to: request("other"), at: other).text == "to the other")
    }
}
