import AutonKit
import AutonModel
import SystemPackage
import Testing

@testable import auton_answer

@Suite struct StagingTests {
    private let directory: TemporaryDirectory
    private let desk: Desk

    init() throws {
        directory = try TemporaryDirectory()
        desk = Desk(directory: directory.path.appending("desk"))
    }

    private func staging(_ conversation: String, _ turn: Int, _ task: String = "Build it.") throws -> Staging {
        try desk.ask(Turn(conversation: conversation, number: turn), request([.user(task)]))
        return try Staging(for: try desk.open(conversation), at: desk)
    }

    private let calls = (1...12).map { Call(name: "list", input: ["path": .string("\($0)")]) }

    @Test func callsKeepTheirOrder() throws {
        let staging = try staging("a", 1)
        for call in calls { try staging.add(call) }
        #expect(try staging.calls() == calls)
        try staging.drop(2)
        try staging.drop(11)
        #expect(try staging.calls() == [calls[0]] + calls[2...10])
        #expect(throws: AutonError.self) { try staging.drop(11) }
        #expect(throws: AutonError.self) { try staging.drop(0) }
        #expect(throws: AutonError.self) { try staging.drop(-1) }
    }

    @Test func conversationsDoNotShareStaging() throws {
        let a = try staging("a", 1), b = try staging("a.1", 1)
        try a.add(calls[0])
        try b.add(calls[1])
        try b.setText("b")
        #expect(try staging("a", 1).calls() == [calls[0]])
        #expect(try staging("a.1", 1).calls() == [calls[1]])
        #expect(try a.text() == nil)
    }

    @Test func whatWasStagedForAnotherRequestGoes() throws {
        try staging("a", 1).add(calls[0])
        #expect(try staging("a", 1).calls() == [calls[0]])
        #expect(try staging("a", 1, "Build something else.").calls() == [])
        try staging("a", 1).add(calls[0])
        try desk.settle(Turn(conversation: "a", number: 1))
        #expect(try Staging.remains(of: "a", at: desk) != nil)
        #expect(try staging("a", 2).calls() == [])
        #expect(try Files.list(desk.directory.appending(".staged")) == ["a.2"])
    }
}
