import AutonKit
import FoundationEssentials
import AutonSettings
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import AutonClient
@testable import AutonModel

@Suite struct SharedBackoffTests {
    private let directory: TemporaryDirectory
    private let file: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        file = directory["backoff.json"]
    }

    private var now: Double { Date().timeIntervalSince1970 }

    /// Whether the file says to wait until `seconds` after some time between `start` and now.
    private func says(_ seconds: Double, from start: Double) throws -> Bool {
        guard case .number(let until) = try JSONValue(parsing: directory.read("backoff.json"))["until"] else { return false }
        return (start + seconds...now + seconds).contains(until)
    }

    /// Waits as a client does; nil if that is not over before `limit` seconds.
    private func wait(cap: Double = 60, limit: Double = 30) async throws {
        let start = now
        try await SharedBackoff(file: file).wait(cap: cap) { _ in }
        #expect(now - start < limit)
    }

    @Test func whoComesWaitsUntilThen() async throws {
        let until = now + 0.3
        try SharedBackoff(file: file).extend(by: 0.3, cap: 60, why: "429")
        try await wait()
        #expect(now >= until)
        #expect(try JSONValue(parsing: directory.read("backoff.json"))["why"] == "429")
        // It is over now.
        try SharedBackoff(file: file).extend(by: 0.01, cap: 60, why: "529")
        #expect(try JSONValue(parsing: directory.read("backoff.json"))["why"] == "529")
    }

    @Test func itIsOnlyExtendedAndToTheCapAtMost() throws {
        let backoff = SharedBackoff(file: file), start = now
        try backoff.extend(by: 30, cap: 60, why: "long")
        try backoff.extend(by: 5, cap: 60, why: "short")
        #expect(try directory.read("backoff.json").contains("long"))
        try backoff.extend(by: 1e9, cap: 60, why: "for ever")
        #expect(try says(60, from: start))
    }

    /// Many at once, each with its own time: the longest stays.
    @Test func theLongestOfManyStays() async throws {
        for _ in 1...5 {
            try Files.removeTree(file)
            await withTaskGroup(of: Void.self) { group in
                for seconds in [30, 5, 50, 10, 20, 40, 15, 45] {
                    group.addTask { [file] in
                        try? SharedBackoff(file: file).extend(by: Double(seconds), cap: 60, why: "\(seconds)")
                    }
                }
            }
            #expect(try JSONValue(parsing: directory.read("backoff.json"))["why"] == "50")
        }
    }

    @Test func aLockThatAnotherProcessHoldsIsWaitedFor() async throws {
        let holder = Task { [directory] in
            try await Command(
                "flock",
                [
                    directory["backoff.json.lock"].string, "sh", "-c",
                    "touch \(directory["held"]); sleep 0.5; touch \(directory["done"])",
                ]
            )
            .run()
        }
        while !Files.exists(directory["held"]) { try await Task.sleep(for: .milliseconds(5)) }
        try SharedBackoff(file: file).extend(by: 1, cap: 60, why: "x")
        #expect(Files.exists(directory["done"]))
        _ = try await holder.value
    }

    /// Another process extends the time while this one waits: it looks again before it goes.
    @Test func whoWaitsLooksAgain() async throws {
        try SharedBackoff(file: file).extend(by: 0.2, cap: 60, why: "first")
        let until = now + 1.5
        let text = #"{"until":\#(until),"why":"second"}"#
        _ = try await Command("sh", ["-c", "echo '\(text)' >\(file).new; mv \(file).new \(file)"]).run()
        try await wait()
        #expect(now >= until)
    }

    @Test(arguments: [
        "", "{", "[]", #"{"until":"soon","why":"x"}"#, #"{"why":"x"}"#, #"{"until":-1,"why":"x"}"#, #"{"until":1e400,"why":"x"}"#,
    ])
    func nonsenseIsNoReasonToWait(text: String) async throws {
        try directory.write("backoff.json", text)
        try await wait()
        let start = now
        try SharedBackoff(file: file).extend(by: 30, cap: 60, why: "x")
        #expect(try says(30, from: start))
    }

    /// A time far ahead holds for no longer than the cap after it was written, and is written over.
    @Test func aTimeFarAheadIsBounded() async throws {
        try directory.write("backoff.json", #"{"until":4102444800,"why":"the year 2100"}"#)
        try await wait(cap: 0.5)
        var past = [timespec(tv_sec: time(nil) - 100, tv_nsec: 0), timespec(tv_sec: time(nil) - 100, tv_nsec: 0)]
        utimensat(AT_FDCWD, file.string, &past, 0)
        try await wait()
        let start = now
        try SharedBackoff(file: file).extend(by: 5, cap: 60, why: "x")
        #expect(try says(5, from: start))
        // Neither does a clock that was wrong.
        try directory.write("backoff.json", #"{"until":4102444800,"why":"x"}"#)
        var future = [timespec(tv_sec: time(nil) + 9999, tv_nsec: 0), timespec(tv_sec: time(nil) + 9999, tv_nsec: 0)]
        utimensat(AT_FDCWD, file.string, &future, 0)
        try await wait(cap: 0.5)
    }

    @Test func aLongWaitIsToldOnce() async throws {
        let backoff = SharedBackoff(file: file)
        try backoff.extend(by: 60, cap: 60, why: "429 rate_limit_error: slow down")
        let (lines, told) = AsyncStream.makeStream(of: String.self)
        let waiting = Task { try await backoff.wait(cap: 60) { told.yield($0) } }
        let line = await lines.first { _ in true }
        #expect(line?.hasPrefix("waiting ") == true)
        #expect(line?.hasSuffix(" s before the next request: 429 rate_limit_error: slow down") == true)
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
    }

    /// Eight agents meet a limit of two requests a second: each is answered, and few are refused again: six at first; if they all came back
    /// after the second that they are told to wait, four and then two more. They draw when to come back: on a busy machine it can be so by chance.
    @Test func eightAgentsKeepToALimit() async throws {
        var refused: [Int] = []
        while refused.count < 5 && !refused.contains(where: { $0 < 12 }) {
            let fake = try FakeModel(script: [], "--rate", "2/1")
            let file = directory["\(refused.count).json"]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for agent in 1...8 {
                    let talk = try Talk(fake.url, backoff: SharedBackoff(file: file)) { $0.retries = 50 }
                    group.addTask { _ = try await talk.ask("agent \(agent)", conversation: "agent-\(agent)") }
                }
                try await group.waitForAll()
            }
            let log = try await fake.log()
            #expect(log.count { $0["status"] == 200 } == 8)
            refused.append(log.count { $0["status"] == 429 })
        }
        #expect(refused.contains { $0 < 12 }, "\(refused) were refused")
    }

    @Test func aLimitThatIsUsedUpIsToldToAll() async throws {
        let start = now
        let fake = try FakeModel(script: [
            [
                "headers": [
                    "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2100-01-01T00:00:00Z",
                ]
            ]
        ])
        #expect(try await Talk(fake.url, backoff: SharedBackoff(file: file)) { $0.retryAfterMax = 30 }.ask().text == "done")
        #expect(try says(30, from: start))
    }

    @Test func whatConcernsOneRequestIsNotToldToAll() async throws {
        let fake = try FakeModel(script: [["status": 500, "headers": ["retry-after-ms": "1"]], ["fault": "cut"]])
        _ = try await Talk(fake.url, backoff: SharedBackoff(file: file)).ask()
        #expect(!Files.exists(file))
    }

    @Test func whereTheFileCannotBeWrittenTheClientWaitsAlone() async throws {
        let fake = try FakeModel(script: [["status": 529, "headers": ["retry-after-ms": "300"]]])
        let talk = try Talk(fake.url, backoff: SharedBackoff(file: "/proc/nowhere/backoff.json"))
        let start = now
        #expect(try await talk.ask().text == "done")
        #expect(now - start >= 0.3)
        #expect(talk.reports.count == 2 && talk.reports[0].hasPrefix("other processes cannot be told to wait: "))
    }
}
