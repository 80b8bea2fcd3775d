import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import AutonModel

/// A ledger that was torn, cut, damaged, taken away, on a disk that is full or broken.
@Suite struct LedgerFaultTests {
    private let scene: LedgerScene
    private let first = turn("lib-1.1")
    private let second = turn("lib-1.1", 2)

    init() throws { scene = try LedgerScene() }

    private func twoTurns(_ ledger: Ledger) throws {
        for turn in [first, second] {
            try ledger.reserve(LedgerScene.worst(2000), model: "m", at: turn)
            try ledger.settle(turn, usage: TokenUsage(output: 500), model: "m")
        }
    }

    /// A kill in the middle of a write, at any byte, seen by whoever has the rest read already and by whoever has not.
    @Test func aTornLastLineDoesNotCountAndIsCutOff() throws {
        try twoTurns(scene.ledger())
        let whole = try scene.text(), last = whole.split(separator: "\n").last!
        for cut in 1...last.utf8.count {
            let kept = whole.dropLast(last.count + 1)
            try scene.write(String(kept))
            let reader = scene.ledger()
            #expect(try reader.summary()?.run.reserved.tokens == 2000)
            try scene.write(String(kept) + String(last.prefix(cut)))
            for ledger in [reader, scene.ledger()] {
                #expect(try ledger.summary()?.run.spent.tokens == 500, "cut at \(cut)")
            }
            try reader.settle(second, usage: TokenUsage(output: 400), model: "m")
            #expect(try scene.lines().map(\.count) == [12, 12, 12, 12] && scene.tokens() == [900, 0, 0], "cut at \(cut)")
        }
    }

    /// Of several lines that were written at once, say: longer than the one that comes in its place.
    @Test func nothingOfALongTornLineRemains() throws {
        try twoTurns(scene.ledger())
        try scene.write(scene.text() + String(repeating: "x", count: 5000))
        try scene.ledger().reserve(LedgerScene.worst(70), model: "m", at: first)
        #expect(try scene.lines().map(\.count) == [12, 12, 12, 12, 12] && scene.tokens() == [1000, 70, 0])
    }

    @Test(arguments: [
        "", "garbage", "reserve", "pay\t1\t1\t1\ta\t1\tm\t1\t1\t1\t1\t1", "reserve\tx\t1\t1\ta\t1\tm\t1\t1\t1\t1\t1",
        "reserve\t1\t1\t1\ta\t1\tm\t1\t1\t1\t-1\t1", "reserve\t1\t1\t1\ta\t1\tm\t1\t1\t1\t1\t$1",
        "reserve\t1\t1\t1\ta\t1\tm\t1\t1\t1\t1",
        "reserve\t1\t1\t1\ta\t1\t\t1\t1\t1\t1\t1", "\0\0\0",
    ])
    func aDamagedLineStopsTheRunAndIsNamed(_ line: String) async throws {
        try twoTurns(scene.ledger())
        let text = try scene.text() + line + "\n"
        try scene.write(text)
        let ledger = scene.ledger()
        for error in [
            await failure { try ledger.reserve(LedgerScene.worst(2), model: "m", at: first) },
            await failure { try ledger.settle(first, usage: TokenUsage(), model: "m") }, await failure { try ledger.summary() },
        ] {
            #expect(error?.status == .badInput && error?.what == "no line of a ledger")
            #expect(error?.location == "\(scene.directory["mailbox/budget/ledger.tsv"]):5")
        }
        #expect(try scene.text() == text)
    }

    @Test func furtherColumnsAreIgnored() throws {
        try twoTurns(scene.ledger())
        try scene.write(scene.lines().map { $0.joined(separator: "\t") + "\tlater\n" }.joined())
        #expect(try scene.tokens() == [1000, 0, 0])
    }

    /// Cut by hand, or gone with its mailbox: what there is counts.
    @Test func aLedgerThatIsReplacedIsReadAnew() throws {
        let ledger = scene.ledger()
        try twoTurns(ledger)
        let text = try scene.text()
        try scene.write(text.split(separator: "\n").prefix(2).joined(separator: "\n") + "\n")
        #expect(try ledger.summary()?.run.spent.tokens == 500)
        try Files.removeTree(scene.directory["mailbox"])
        #expect(try ledger.summary() == nil)
        try ledger.reserve(LedgerScene.worst(70), model: "m", at: first)
        #expect(try scene.tokens() == [0, 70, 0])
        // Another file, longer than what was read of the first.
        try Files.replace(scene.directory["mailbox/budget/ledger.tsv"], Array(text.utf8))
        #expect(try ledger.summary()?.run == scene.summary().run)
        #expect(try scene.tokens() == [1000, 0, 0])
    }

    private func probe(_ conversation: String, turns: Int, in mailbox: FilePath, inject: String? = nil) async throws -> Outcome {
        let trace =
            inject.map { ["strace", "-f", "-o", "/dev/null", "-e", "trace=\($0.prefix { $0 != ":" })", "-e", "inject=\($0)"] }
            ?? []
        let words = trace + ["ledger-probe", mailbox.string, conversation, String(turns), "500"]
        return try await Program.run(words[0], Array(words.dropFirst()))
    }

    /// A call that fails stops the turn before it is taken, and leaves nothing reserved; run again, it goes on.
    @Test(
        .enabled("needs strace(1)") { await Strace.works },
        arguments: [
            ("fdatasync:error=EIO:when=2", "Input/output error"), ("pwrite64:error=ENOSPC:when=3", "No space left on device"),
            ("pwrite64:error=EIO:when=3", "Input/output error"),
        ])
    func aCallThatFails(_ inject: String, _ reason: String) async throws {
        let mailbox = scene.directory["mailbox"]
        let outcome = try await probe("lib-1.1", turns: 3, in: mailbox, inject: inject)
        #expect(
            outcome
                == Outcome(
                    status: 75, output: "reserved 1\n",
                    errors: "ledger-probe: cannot write: \(reason): \(mailbox)/budget/ledger.tsv\n"))
        #expect(try scene.tokens() == [500, 0, 0])
        #expect(try await probe("lib-1.2", turns: 3, in: mailbox).status == 0)
        #expect(try scene.tokens() == [2000, 0, 0])
    }

    /// The settlement does not get to the disk: the reservation counts until the conversation is taken up again.
    @Test(.enabled("needs strace(1)") { await Strace.works })
    func aSettlementThatCannotBeWritten() async throws {
        let mailbox = scene.directory["mailbox"]
        #expect(try await probe("lib-1.1", turns: 3, in: mailbox, inject: "pwrite64:error=ENOSPC:when=2").status == 75)
        #expect(try scene.tokens() == [0, 2000, 0])
        try scene.ledger().settle(first, usage: TokenUsage(output: 9), model: "m")
        #expect(try scene.tokens() == [9, 0, 0])
    }

    /// Written to the last byte that fits, line after line.
    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func aFullDisk() async throws {
        let disk = try Mount(at: scene.directory["mailbox"], bytes: 16 << 10)
        let outcome = try await probe("lib-1.1", turns: 1000, in: disk.path)
        #expect(outcome.status == 75 && outcome.errors.hasPrefix("ledger-probe: cannot write: No space left on device"))
        #expect(try scene.text().hasSuffix("\n"))
        let spent = try scene.summary().run.spent.tokens
        #expect(spent >= 500 * 20 && (outcome.lines.count - 1...outcome.lines.count).contains(spent / 500))
        #expect(mount(nil, disk.path.string, nil, UInt(MS_REMOUNT), "size=1m") == 0)
        #expect(try await probe("lib-1.2", turns: 10, in: disk.path).status == 0)
        #expect(try scene.summary().run.spent.tokens == spent + 5000)
    }

    @Test(.enabled(if: Mount.isPossible, "\(Mount.reason)"))
    func aReadOnlyMailboxCanBeLookedAt() async throws {
        let disk = try Mount(at: scene.directory["mailbox"], bytes: 1 << 20)
        try twoTurns(scene.ledger())
        try disk.makeReadOnly()
        #expect(try scene.tokens() == [1000, 0, 0])
        #expect(
            await failure { try scene.ledger().reserve(LedgerScene.worst(2), model: "m", at: first) }?.status == .badConfiguration
        )
    }
}
