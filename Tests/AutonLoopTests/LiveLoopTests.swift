import AutonKit
import AutonMessages
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// The whole loop over HTTP, against a server that misbehaves: the scenario's answers come to the scenario's end.
@Suite struct LiveLoopTests {
    private static let key = "sk-live-0123456789-only-on-the-wire"

    /// The scenario's answers as a server's script: each conversation has a step for each of its turns, with faults between.
    private func script() throws -> [JSONValue] {
        let answers = LoopRun.scenario.appending("input/answers")
        let faults: [JSONValue] = [
            ["status": 529], ["fault": "cut", "after": 2], ["status": 429, "headers": ["retry-after": "1"]],
            ["fault": "error-event", "after": 1], ["fault": "reset", "after": 3],
        ]
        return try Files.list(answers).enumerated().flatMap { number, file in
            var parts = file.split(separator: ".").dropLast(2).map(String.init)
            let isReview = parts.last == "review"
            if isReview { parts.removeLast() }
            // How a conversation's first message names it.
            let opening =
                parts.count == 1 ? "The tasks so far" : "Task: \(parts[0]), attempt \(parts[1])" + (isReview ? ";" : "\n")
            let answer = try CompactJSON.decode(MessagesResponse.self, from: Files.read(answers.appending(file)), at: file)
            // What it used is the server's to count.
            let response: JSONValue = ["content": try content(answer), "stop_reason": .string(answer.stopReason)]
            let step: JSONValue = ["for": .string(opening), "response": response, "chunk": .integer(number % 3 == 0 ? 1 : 4096)]
            guard number % 4 == 1, case .object(var fault) = faults[number / 4 % faults.count] else { return [step] }
            fault["for"] = .string(opening)
            return [.object(fault), step]
        }
    }

    /// With ids that the API takes.
    private func content(_ answer: MessagesResponse) throws -> JSONValue {
        let blocks = answer.content.map { block in
            guard case .toolUse(var use) = block else { return block }
            use.id = use.id.replacing(".", with: "-")
            return .toolUse(use)
        }
        return try CompactJSON.decode(JSONValue.self, from: CompactJSON.encode(blocks), at: "content")
    }

    private func live(_ fake: FakeModel, _ more: [String: String] = [:]) async throws -> (LoopRun, Outcome) {
        let run = try await LoopRun()
        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        return (run, try await self.run(run, fake, more))
    }

    private func run(_ run: LoopRun, _ fake: FakeModel, _ more: [String: String] = [:]) async throws -> Outcome {
        var command = run.command("run")
        command.environment["AUTON_MODEL"] = fake.url
        command.environment["ANTHROPIC_API_KEY"] = Self.key
        command.environment["AUTON_MODEL_MAX_TOKENS"] = "2000"
        command.environment.merge(more) { $1 }
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "ended with \(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }

    @Test func theScenarioOverHTTP() async throws {
        let fake = try FakeModel(script: script(), "--key", Self.key, "--prices", "2/10")
        let (run, outcome) = try await live(fake)
        #expect(outcome.status == 1, "\(outcome.output)\(outcome.errors)")
        try await run.expectAfter()

        let log = try await fake.log()
        let answered = log.filter { $0["ended"] == "answered" && $0["status"] == 200 }
        let mailbox = Mailbox(run.directory["mailbox"])
        let turns = try Files.list(mailbox.root.appending("transcript")).map {
            try Transcript(reading: mailbox.root.appending("transcript").appending($0)).responses.count
        }
        #expect(answered.count == turns.reduce(0, +), "no turn is asked again once it is answered")
        #expect(log.count > answered.count, "the faults were met")

        // The ledger has what the server billed: to the token what was answered, and more than enough for what was cut.
        let budget = try await status(run)["budget"]?["run"]
        func tokens(_ entry: JSONValue) -> Int {
            ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"].reduce(0) {
                $0 + (entry["usage"]?[$1]?.integer ?? 0)
            }
        }
        #expect(budget?["spent"]?["tokens"]?.integer == answered.map(tokens).reduce(0, +))
        let cut = log.filter { $0["billed"] == true && $0["ended"] != "answered" }.map(tokens).reduce(0, +)
        #expect(cut > 0 && (budget?["abandoned"]?["tokens"]?.integer ?? 0) >= cut)
        #expect(budget?["reserved"]?["tokens"] == 0)

        // The key went over the wire and nowhere else.
        #expect(answered.allSatisfy { $0["headers"]?["authorization"] == "right" })
        let grep = try await Command("grep", ["-r", "-l", Self.key, run.directory.path.string]).run()
        #expect(grep.ending == .exited(1), "\(grep.output.text)")
        #expect(!outcome.output.contains(Self.key) && !outcome.errors.contains(Self.key))
    }

    /// The budget is less than the run needs: it stops with exit status 2, below the cap by the server's own bill, and goes on
    /// when the cap is raised.
    @Test func theBudgetHolds() async throws {
        let fake = try FakeModel(script: script(), "--prices", "2/10")
        let cap = 0.15
        let (_, outcome) = try await live(fake, ["AUTON_BUDGET_USD": "\(cap)"])
        #expect(outcome.status == ExitStatus.budget.rawValue, "\(outcome.output)")
        #expect(outcome.errors.contains("raise budget.usd to go on"))
        let billed =
            try await fake.log().compactMap { entry -> Double? in
                if case .number(let total)? = entry["total_usd"] { total } else { nil }
            }.max() ?? 0
        #expect(billed > 0 && billed <= cap)
    }

    private func status(_ run: LoopRun) async throws -> JSONValue {
        let outcome = try await run.auton("status", "--json")
        return try CompactJSON.decode(JSONValue.self, from: Array(outcome.output.utf8), at: "status")
    }
}
