import ArgumentParser
import AutonKit
import AutonMessages
import AutonModel
import Glibc
import SystemPackage

/// Takes turns against a budget, beside the bare system calls that this needs.
struct Budget: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reserve and settle turns on a ledger of many lines; two bare writes and an fdatasync beside it; open it.")

    @Option(help: "Lines that the ledger has already.") var lines = 10_000
    @Option var turns = 500
    @Argument var directory: String

    func run() throws {
        let mailbox = FilePath(directory)
        let ledger = Ledger(mailbox), worst = WorstCase(input: 100_000, output: 32_000)
        func take(_ number: Int) throws {
            let turn = Turn(conversation: "bench-\(number / 200).1", number: number)
            try ledger.reserve(worst, model: "claude-opus-5-5", at: turn)
            try ledger.settle(turn, usage: TokenUsage(input: 900, cacheRead: 90_000, output: 1200), model: "claude-opus-5-5")
        }
        for number in 0..<lines / 2 { try take(number) }
        let path = Ledger.path(in: Files.absolute(mailbox))
        let line = try Files.read(path).prefix { $0 != UInt8(ascii: "\n") } + [UInt8(ascii: "\n")]
        let bare = try FileDescriptor.open(
            path.appending(".bare", toLastComponent: true), .writeOnly, options: [.create, .truncate],
            permissions: .ownerReadWrite)
        defer { try? bare.close() }
        // In turn, so that a slow moment of the disk meets both.
        var seconds = 0.0, floor = 0.0
        for number in lines / 2..<lines / 2 + turns {
            seconds += try timed { try take(number) }
            floor += try timed {
                try bare.writeAll(line)
                fdatasync(bare.rawValue)
                try bare.writeAll(line)
            }
        }
        let opening = try (0..<7).map { _ in try timed { _ = try Ledger(mailbox).summary() } }.sorted()[3]
        print(
            "\(milliseconds(seconds / Double(turns))) ms a turn, \(milliseconds(floor / Double(turns))) ms of it two writes and an fdatasync; "
                + "\(milliseconds(opening)) ms to open \(lines + 2 * turns) lines")
    }
}
