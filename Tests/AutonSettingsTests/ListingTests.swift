import AutonKit
import AutonSettings
import FoundationEssentials
import SystemPackage
import TestSupport
import Testing

/// What auton-config prints.
@Suite struct ListingTests {
    private static let file = #"""
        [model]
        uri = """exec:cat "a b"
        exit"""
        headers = { X-A = "1 \" 2", "X.B" = "é\\" }
        [team]
        developers = 5
        [budget]
        usd = 1e-5
        tokens = 1_000_000
        [prices."gpt-4.1"]
        input = 2
        """#

    private func valuesWithoutSources(_ text: String) -> [String] {
        text.split(separator: "\n").map { line in String(line.split(separator: "  # ")[0]) }
    }

    @Test func whatIsPrintedIsAConfigurationThatSaysTheSame() async throws {
        let first = try ConfigRun(Self.file)
        let printed = try await first.config()
        #expect(printed.status == 0 && printed.errors == "")
        for line in [
            #"model.uri = "exec:cat \"a b\"\nexit"  # auton.toml:2"#,
            #"model.headers = { "X-A" = "1 \" 2", "X.B" = "é\\" }  # auton.toml:4"#,
            "model.auth = \"bearer\"  # default", "team.developers = 5  # auton.toml:6", "team.attempts = 3  # default",
            "budget.usd = 1e-05  # auton.toml:8", "budget.tokens = 1000000  # auton.toml:9",
            "# budget.task_usd = none  # default",
            #"prices."gpt-4.1".input = 2.0  # auton.toml:11"#, "# API key: none",
        ] {
            #expect(printed.lines.contains(line), "\(line)")
        }
        let second = try ConfigRun(printed.output)
        let again = try await second.config()
        #expect(valuesWithoutSources(again.output) == valuesWithoutSources(printed.output))
        #expect(again.output.contains("team.attempts = 3  # auton.toml:"))
    }

    @Test func sourcesAreTold() async throws {
        let run = try ConfigRun(Self.file)
        let outcome = try await run.config(
            "--set", "team.replans=1", environment: ["AUTON_ATTEMPTS": "7", "ANTHROPIC_AUTH_TOKEN": "sk-secret"])
        #expect(outcome.lines.contains("team.attempts = 7  # environment AUTON_ATTEMPTS"))
        #expect(outcome.lines.contains("team.replans = 1  # flag --set"))
        #expect(outcome.lines.last == "# API key: environment ANTHROPIC_AUTH_TOKEN")
        #expect(!outcome.output.contains("sk-secret"))
    }

    @Test func oneJSONObjectALine() async throws {
        let run = try ConfigRun(Self.file)
        let outcome = try await run.config("--json")
        for line in [
            #"{"key":"team.developers","source":"auton.toml:6","value":5}"#,
            #"{"key":"budget.usd","source":"auton.toml:8","value":1e-05}"#,
            #"{"key":"budget.task_usd","source":"default","value":null}"#,
            #"{"key":"model.stream","source":"default","value":true}"#,
            #"{"key":"model.headers","source":"auton.toml:4","value":{"X-A":"1 \" 2","X.B":"é\\"}}"#,
            #"{"key":"prices.\"gpt-4.1\".input","source":"auton.toml:11","value":2}"#,
            #"{"key":"api_key","source":"none","value":null}"#,
        ] {
            #expect(outcome.lines.contains(line), "\(line)")
        }
    }

    @Test func bareValuesForScripts() async throws {
        let run = try ConfigRun(Self.file)
        let outcome = try await run.config(
            "get", "team.developers", "budget.task_usd", "model.stream", #"prices."gpt-4.1".input"#, "paths.mailbox", "model.uri")
        #expect(outcome == Outcome(status: 0, output: "5\n\ntrue\n2.0\nmailbox\nexec:cat \"a b\"\nexit\n"))
        #expect(
            try await run.config("get", "budget.usdd")
                == Outcome(status: 64, errors: "auton-config: unknown key budget.usdd; did you mean budget.usd?\n"))
    }

    @Test func aFileMayComeThroughAPipe() async throws {
        let outcome = try await ConfigRun().run(
            "bash", ["-c", "auton-config get team.developers --config <(echo team.developers=6)"])
        #expect(outcome == Outcome(status: 0, output: "6\n"))
    }

    @Test func withoutAFileAllIsWell() async throws {
        #expect(try await ConfigRun().config("check") == Outcome(status: 0))
        #expect(try await ConfigRun("").config("check") == Outcome(status: 0))
        #expect(
            try await ConfigRun("[prices.\"foo\"]\ninput = 1\n").config("check")
                == Outcome(status: 78, errors: "auton-config: prices.\"foo\" needs input and output\n"))
    }

    /// `auton-config --example >auton.example.toml` mends it.
    @Test func theExampleIsUpToDate() async throws {
        let run = try ConfigRun()
        let outcome = try await run.config("--example")
        #expect(outcome.output == (try Files.readText(Program.package.appending("auton.example.toml"))))
        // As it stands it changes nothing; with every key taken in, it says the defaults and the examples.
        #expect(try await ConfigRun(outcome.output).config() == run.config())
        let all = outcome.output.split(separator: "\n").map { line in
            line.contains(" = ") || line.hasPrefix("# [") ? String(line.dropFirst(2)) : String(line)
        }
        // The key file that it names is not there.
        let settings = try await ConfigRun(all.joined(separator: "\n")).config(
            "--json", environment: ["ANTHROPIC_API_KEY": "sk-1"])
        #expect(settings.status == 0, "\(settings.errors)")
        #expect(settings.lines.allSatisfy { $0.contains("auton.toml:") || $0.contains("api_key") })
        let defaults = try await run.config("--json").lines.filter { !$0.contains("null") }
        let values = settings.lines.map { $0.replacing(#/"source":"[^"]*"/#, with: #""source":"default""#) }
        #expect(defaults.allSatisfy(values.contains))
    }
}
