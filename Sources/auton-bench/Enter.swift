import ArgumentParser
import AutonKit
import SystemPackage

/// Enters sandboxes, and runs commands in one that is entered.
struct Enter: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Enter a sandbox and run true in it; run true in one that is entered already; medians.")

    @Option var runs = 51
    @Argument var directory: String

    func run() async throws {
        let place = Files.absolute(FilePath(directory))
        try Files.createDirectories(place)
        try Worktree.handOver(place)
        var first: [Double] = [], next: [Double] = []
        for _ in 0..<runs {
            // Not left within the time: a stage need not wait for that.
            let session = SandboxSession(Sandbox(place))
            first.append(try await timed { try await noop(in: session) })
            await session.leave()
        }
        let session = SandboxSession(Sandbox(place))
        try await noop(in: session)
        for _ in 0..<runs { next.append(try await timed { try await noop(in: session) }) }
        await session.leave()
        print("\(median(first)) ms for the first true in a sandbox, \(median(next)) ms for the next")
    }

    private func noop(in session: SandboxSession) async throws {
        let result = try await session.run("true", [])
        guard result.succeeded else { throw AutonError(.bug, "true failed: \(result.ending)", at: directory) }
    }

    private func median(_ seconds: [Double]) -> String { milliseconds(seconds.sorted()[seconds.count / 2]) }
}

private func timed(_ body: () async throws -> Void) async rethrows -> Double {
    let start = ContinuousClock.now
    try await body()
    return start.duration(to: .now).inSeconds
}
