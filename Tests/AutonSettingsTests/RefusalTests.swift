import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What is wrong in a configuration: one line that names the place, the key and what is allowed; status 78.
@Suite struct RefusalTests {
    @Test(arguments: [
        ("AUTON_BUDGET_USDD", "; did you mean AUTON_BUDGET_USD?"), ("AUTON_MALBOX", "; did you mean AUTON_MAILBOX?"),
        ("AUTON_PATHS_MAILBOX", "; did you mean AUTON_MAILBOX?"), ("AUTON_STRCIT", "; did you mean AUTON_STRICT?"),
        ("AUTON_GATE_QUICKLY", ""),
    ])
    func aMisspeltVariable(_ name: String, _ meant: String) async throws {
        let run = try ConfigRun()
        for (program, arguments) in [("auton-config", ["check"]), ("auton-status", []), ("auton-plan", ["A goal"])] {
            #expect(
                try await run.run(program, arguments, environment: [name: "3"])
                    == Outcome(status: 78, errors: "\(program): \(name): unknown variable\(meant)\n"))
        }
        #expect(try run.directory.contents() == [:])
    }

    /// What only begins like ours is not ours, and what the programs tell one another is known.
    @Test(arguments: ["AUTON_HOME_DIRECTORY", "AUTON_TURN", "AUTON_BUDGET_DEADLINE", "AUTON_UNSAFE_NO_SANDBOX", "AUTONOMOUS"])
    func anotherVariable(_ name: String) async throws {
        #expect(try await ConfigRun().config("check", environment: [name: "3"]) == Outcome(status: 0))
    }

    private static let noUser = "without user or password (a key belongs in $ANTHROPIC_API_KEY or the file of model.key_file)"

    @Test(arguments: [
        // Malformed: line and column.
        ("[team]\n\ndevelopers = [3", "3:16: Error while parsing array: encountered end-of-file"),
        ("[team", "1:6: Error while parsing table header: encountered end-of-file"),
        ("a = 1\na = 2", "2:5: Error while parsing key-value pair: cannot redefine existing integer 'a'"),
        ("model.name = \"é\" x", "1:18: Error while parsing key-value pair: expected a comment or whitespace, saw 'x'"),
        ("\nmodel.name = \"a\\u0000b\"", "2:16: text cannot have the character \\u0000"),
        // Unknown: the nearest key, if one is near.
        ("[budget]\n# a comment\nusdd = 5", "3:1: unknown key budget.usdd; did you mean budget.usd?"),
        ("team = { developer = 4 }", "1:1: unknown key team.developer; did you mean team.developers?"),
        ("[model]\r\n\r\n\t xyzzy = \"\"\"a\r\nb\"\"\"\r\n", "3:3: unknown key model.xyzzy"),
        ("[budgt]", "1:1: unknown key budgt; did you mean budget?"),
        ("colour = 1", "1:1: unknown key colour"),
        ("[prices.\"a.b\"]\nimput = 1", "2:1: unknown key prices.\"a.b\".imput; did you mean prices.\"a.b\".input?"),
        ("[budget.usd]\nx = 1", "1:1: budget.usd must be a number above 0 and up to 1000000000, not a table"),
        // Of another type, out of range, empty.
        ("[model]\nstream = \"\"\"\n\"\"\"\nname = 5", "2:1: model.stream must be true or false, not \"\""),
        ("model.name = 5", "1:1: model.name must be a line of text, not 5"),
        ("model.name = \"\"", "1:1: model.name must be a line of text, not \"\""),
        ("paths.mailbox = \"a\\nb\"", "1:1: paths.mailbox must be a line of text, not \"a\\nb\""),
        ("model.uri = \"\"", "1:1: model.uri must be text, and a URL only whole and \(Self.noUser), not \"\""),
        ("model.effort = \"hihg\"", "1:1: model.effort must be \"low\", \"medium\", \"high\" or \"max\", not \"hihg\""),
        (
            "model.base_url = \"ftp://x\"",
            "1:1: model.base_url must be a URL that begins with http:// or https://, \(Self.noUser), not \"ftp://x\""
        ),
        ("team.developers = 7", "1:1: team.developers must be an integer from 3 to 6, not 7"),
        ("team.developers = 4.0", "1:1: team.developers must be an integer from 3 to 6, not 4.0"),
        ("budget.usd = nan", "1:1: budget.usd must be a number above 0 and up to 1000000000, not nan"),
        ("budget.usd = -inf", "1:1: budget.usd must be a number above 0 and up to 1000000000, not -inf"),
        ("budget.usd = 0", "1:1: budget.usd must be a number above 0 and up to 1000000000, not 0"),
        ("budget.warn = 1.5", "1:1: budget.warn must be a number above 0 and up to 1, not 1.5"),
        ("sandbox.build_seconds = 1e300", "1:1: sandbox.build_seconds must be a number above 0 and up to 86400, not 1e+300"),
        ("team.attempts = [3]", "1:1: team.attempts must be an integer from 1 to 100, not an array"),
        ("team.attempts = 2020-01-01", "1:1: team.attempts must be an integer from 1 to 100, not a date or time"),
        ("model = \"x\"", "1:1: model must be a table, not \"x\""),
        ("[[team]]\ndevelopers = 4", "1:1: team must be a table, not an array of tables"),
        ("prices.x = 3", "1:1: prices.x must be a table, not 3"),
        ("[model.headers]\nX-A = 1", "2:1: model.headers.X-A must be text, not 1"),
        (
            "model.headers = { Authorization = \"Bearer sk-1\" }",
            "1:1: model.headers must be a table of headers: names, text of one line, and neither authorization nor x-api-key"
        ),
        ("sandbox.seconds = 400", "1:1: sandbox.seconds is 400, over sandbox.max_seconds, which is 300"),
        ("\nsandbox.max_seconds = 10", "2:1: sandbox.seconds is 60, over sandbox.max_seconds, which is 10"),
    ])
    func inTheFile(_ text: String, _ complaint: String) async throws {
        let outcome = try await ConfigRun(text).config("check")
        #expect(outcome == Outcome(status: 78, errors: "auton-config: auton.toml:\(complaint)\n"))
    }

    @Test(arguments: [
        (
            "AUTON_DEVELOPERS", "nine", "AUTON_DEVELOPERS: team.developers must be an integer from 3 to 6, not \"nine\""
        ),
        ("AUTON_ATTEMPTS", "0", "AUTON_ATTEMPTS: team.attempts must be an integer from 1 to 100, not 0"),
        ("AUTON_ATTEMPTS", "3\nx=1", "AUTON_ATTEMPTS: team.attempts must be an integer from 1 to 100, not \"3\\nx=1\""),
        (
            "AUTON_MODEL_AUTH", "basic",
            "AUTON_MODEL_AUTH: model.auth must be \"bearer\", \"x-api-key\" or \"none\", not \"basic\""
        ),
        (
            "ANTHROPIC_BASE_URL", "localhost",
            "ANTHROPIC_BASE_URL: model.base_url must be a URL that begins with http:// or https://, \(Self.noUser), not \"localhost\""
        ),
    ])
    func inTheEnvironment(_ variable: String, _ value: String, _ complaint: String) async throws {
        let outcome = try await ConfigRun().config("check", environment: [variable: value])
        #expect(outcome == Outcome(status: 78, errors: "auton-config: \(complaint)\n"))
        #expect(try await ConfigRun().config("check", environment: [variable: ""]) == Outcome(status: 0))
    }

    @Test(arguments: [
        ("team.developers=7", "--set: team.developers must be an integer from 3 to 6, not 7"),
        ("team.developers", "--set takes KEY=VALUE, not team.developers"),
        ("team.devs=4", "unknown key team.devs"),
        ("team.develpers=4", "unknown key team.develpers; did you mean team.developers?"),
        ("[x]=4", "not a key: [x]"),
    ])
    func onTheCommandLine(_ pair: String, _ complaint: String) async throws {
        let outcome = try await ConfigRun().config("check", "--set", pair)
        #expect(outcome == Outcome(status: 64, errors: "auton-config: \(complaint)\n"))
    }

    @Test(arguments: [
        "https://user:secret@host", "http://secret@host:80/x", "https://a:secret@b@host", "user:secret@host",
        "https:user:secret@host",
        "HTTPS://user:secret@host", "https://user:secret\\@host", "https:///user:secret@host",
    ])
    func noPasswordIsTakenOrPrinted(_ address: String) async throws {
        var outcomes = try await [
            (78, ConfigRun("model.base_url = '\(address)'\n").config()),
            (78, ConfigRun().config(environment: ["ANTHROPIC_BASE_URL": address])),
        ]
        // What begins otherwise is no URL of a server's, and no transport has it.
        if address.lowercased().hasPrefix("http") {
            try await outcomes += [
                (78, ConfigRun("model.uri = '\(address)'\n").config()),
                (64, ConfigRun().run("auton-plan", ["--model", address, "a goal"])),
            ]
        }
        for (status, outcome) in outcomes {
            #expect(outcome.status == status && outcome.output == "" && outcome.errors.contains("$ANTHROPIC_API_KEY"))
            #expect(!outcome.errors.contains("secret"))
        }
    }

    @Test func filesThatCannotBeRead() async throws {
        let run = try ConfigRun()
        func complaint(_ name: String) async throws -> Outcome { try await run.config("check", "--config", name) }
        #expect(
            try await complaint("no.toml")
                == Outcome(status: 78, errors: "auton-config: cannot read: No such file or directory: no.toml\n"))
        #expect(
            try await run.config("check", environment: ["AUTON_CONFIG": "no.toml"])
                == Outcome(status: 78, errors: "auton-config: cannot read: No such file or directory: no.toml\n"))
        #expect(try await complaint(".") == Outcome(status: 78, errors: "auton-config: cannot read: Is a directory: .\n"))
        #expect(
            try await complaint("/dev/zero")
                == Outcome(status: 78, errors: "auton-config: cannot read: not a regular file: /dev/zero\n"))
        try run.directory.write("large", String(repeating: "# large\n", count: 10_000))
        #expect(
            try await complaint("large") == Outcome(status: 78, errors: "auton-config: cannot read: File too large: large\n"))
        try Files.write(run.directory["latin"], Array("\n# gr".utf8) + [0xfc, 0xdf], sync: false)
        #expect(try await complaint("latin") == Outcome(status: 78, errors: "auton-config: latin:2:5: not UTF-8 text\n"))
        try run.directory.write("zero", "a = 1\u{0}")
        #expect(try await complaint("zero") == Outcome(status: 78, errors: "auton-config: zero:1:6: not UTF-8 text\n"))
        symlink("nowhere", run.directory["auton.toml"].string)
        #expect(
            try await run.config("check")
                == Outcome(status: 78, errors: "auton-config: cannot read: No such file or directory: auton.toml\n"))
    }

    /// Whoever hangs is killed after a while, which fails.
    @Test func onlyAPipeThatIsNamedIsWaitedFor() async throws {
        let run = try ConfigRun()
        mkfifo(run.directory["auton.toml"].string, 0o600)
        #expect(
            try await run.config("check")
                == Outcome(status: 78, errors: "auton-config: cannot read: not a regular file: auton.toml\n"))
        let named = try await run.run(
            "bash",
            [
                "-c", #"exec "$0" get team.developers --config <(echo team.developers = 6)"#,
                Program.directory.appending("auton-config").string,
            ])
        #expect(named == Outcome(status: 0, output: "6\n"))
        #expect(try await run.config("check", "--config", "/dev/null") == Outcome(status: 0))
        mkdir(run.directory["other"].string, 0o700)
        #expect(
            try await run.config("check", "--config", "other")
                == Outcome(status: 78, errors: "auton-config: cannot read: Is a directory: other\n"))
    }

    @Test func aFileThatIsNotOursToRead() async throws {
        let run = try ConfigRun("team.developers = 3\n")
        chmod(run.directory["auton.toml"].string, 0o000)
        // Root may read everything.
        let nobody = geteuid() == 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] : []
        let words = nobody + [Program.directory.appending("auton-config").string, "check"]
        let outcome = try await run.run(words[0], Array(words.dropFirst()))
        #expect(outcome == Outcome(status: 78, errors: "auton-config: cannot read: Permission denied: auton.toml\n"))
    }
}
