import AutonKit
import AutonMessages
import AutonModel
import Glibc
import SystemPackage
import TestSupport
import Testing

/// On a machine that has too much to do, what agents try does not hold up what decides.
@Suite struct NicenessTests {
    @Test func whoWaitsForWhom() async throws {
        let run = try await LoopRun(), mailbox = Mailbox(run.directory["mailbox"])
        func task(_ id: String, _ role: String, _ path: String) -> String {
            """
            {"id": "\(id)", "title": "work", "role": "\(role)", "subsystem": "lib", "description": "work", "paths": ["\(path)"],
             "depends": [], "accept": ["harness.*"]}
            """
        }
        try run.directory.write(
            "plan.json",
            "{\"tasks\": [\(task("lib-001", "developer", "lib/")), \(task("lib-002", "tester", "tests/lib_x.c"))]}")
        // A command's, and its session's where the kernel schedules those.
        let look = "nice; cut -d ' ' -f 3 /proc/self/autogroup 2>&- || :"
        for id in ["lib-001", "lib-002"] {
            for (turn, answer) in [reply(("shell", ["command": .string(look)])), reply(("finish", ["summary": "done"]))]
                .enumerated()
            {
                try run.answer("\(id).1.\(turn + 1)", answer)
            }
        }
        #expect(try await run.auton("plan", "--from", "plan.json").status == 0)
        for (id, niceness) in [("lib-001", Int32(5)), ("lib-002", 10)] {
            let outcome = try await run.auton("agent", id)
            #expect(outcome.status == 0, "\(outcome.errors)")
            let said = try Transcript(reading: mailbox.transcript("\(id).1")).requests.flatMap { $0 }
            let results = said.flatMap(\.toolResults).map(\.content)
            // Whoever runs it may be nice already.
            let expected = max(niceness, getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0))
            let printed = try #require(results.first).split(separator: "\n").compactMap { Int32($0) }
            #expect((1...2).contains(printed.count) && printed.allSatisfy { $0 == expected }, "\(results)")
        }
    }
}
