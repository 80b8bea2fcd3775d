import AutonKit
import SystemPackage
import TestSupport
import Testing

@testable import AutonSettings

/// Flags over the environment over the file over the defaults, for every kind of value.
@Suite struct PrecedenceTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func load(file: String = "", variables: [String: String] = [:], flags: [SettingFlag?] = []) throws -> Settings {
        try Settings.load(file: directory.write("a.toml", file).string, flags: flags) { variables[$0] }
    }

    private static let file = """
        team.developers = 3
        model = { name = "file", stream = false, effort = "low", headers = { A = "file" } }
        [budget]
        # A number may be written as an integer.
        warn = 1
        usd = 2.5
        """
    private static let variables = [
        "AUTON_DEVELOPERS": "5", "AUTON_MODEL_NAME": "variable", "AUTON_MODEL_STREAM": "true", "AUTON_MODEL_EFFORT": "medium",
        "AUTON_MODEL_HEADERS": #"{ B = "variable" }"#, "AUTON_BUDGET_WARN": "0.5", "AUTON_BUDGET_USD": "3",
    ]

    /// What is compared, in one line.
    private func summary(_ settings: Settings) -> String {
        "\(settings.team.developers) \(settings.model.name) \(settings.model.stream) \(settings.model.effort?.rawValue ?? "none") "
            + "\(settings.model.headers.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }) \(settings.budget.warn) "
            + "\(settings.budget.usd.map { "\($0)" } ?? "none")"
    }

    @Test func theDefaults() throws {
        let settings = try load()
        #expect(summary(settings) == "4 claude-sonnet-5-5 true none [] 0.8 none")
        #expect(Setting.all.allSatisfy { settings.source(of: $0) == .standard })
    }

    @Test func theFileOverThem() throws {
        let settings = try load(file: Self.file)
        #expect(summary(settings) == #"3 file false low ["A=file"] 1.0 2.5"#)
        let name = directory["a.toml"].string
        #expect(settings.source(of: .of(\.team.developers)) == .file(name, line: 1, column: 1))
        #expect(settings.source(of: .of(\.model.effort)) == .file(name, line: 2, column: 1))
        #expect(settings.source(of: .of(\.budget.usd)) == .file(name, line: 6, column: 1))
    }

    @Test func theEnvironmentOverThat() throws {
        let settings = try load(file: Self.file, variables: Self.variables)
        #expect(summary(settings) == #"5 variable true medium ["B=variable"] 0.5 3.0"#)
        #expect(settings.source(of: .of(\.team.developers)) == .environment("AUTON_DEVELOPERS"))
    }

    @Test func flagsOverAll() throws {
        let flags: [SettingFlag?] = try [
            SettingFlag("--developers", \.team.developers, 6), SettingFlag("--name", \.model.name, "flag"),
            SettingFlag("--usd", \.budget.usd, nil as Double?), SettingFlag(set: "model.stream=false"),
            SettingFlag(set: "model.effort=max"), SettingFlag(set: #"model.headers={ C = "flag" }"#),
            SettingFlag(set: "budget.warn=0.9"),
        ]
        let settings = try load(file: Self.file, variables: Self.variables, flags: flags)
        #expect(summary(settings) == #"6 flag false max ["C=flag"] 0.9 3.0"#)
        #expect(settings.source(of: .of(\.team.developers)) == .flag("--developers"))
        #expect(settings.source(of: .of(\.model.effort)) == .flag("--set"))
    }

    @Test func aTableToldInSeveralPlaces() throws {
        let file = """
            [model]
            headers.a = "1"
            headers."b c" = "2"
            """
        #expect(throws: AutonError.self) { try load(file: file) }
        let settings = try load(file: file.replacing("b c", with: "b-c"))
        #expect(settings.model.headers == ["a": "1", "b-c": "2"])
        #expect(try load(file: "[model.headers]\na = \"1\"\nb = \"2\"").model.headers == ["a": "1", "b": "2"])
    }

    @Test func valuesOfManyLines() throws {
        let file = """
            \u{FEFF}[model]
            uri = \"\"\"
            \(String(repeating: "echo\n", count: 10_000))\"\"\" # ]
            name = '''
            [a]'''
            max_tokens = 5
            """
        let settings = try load(file: file)
        #expect(settings.model.uri?.count == 50_000 && settings.model.name == "[a]" && settings.model.maxTokens == 5)
        #expect(settings.source(of: .of(\.model.maxTokens)) == .file(directory["a.toml"].string, line: 10_006, column: 1))
    }

    @Test func whatIsParticularToARole() throws {
        let settings = try load(
            file: """
                [model]
                effort = "low"
                [roles.tester]
                model = "another"
                effort = "high"
                turns = 9
                """)
        #expect(settings.model(of: .tester).name == "another" && settings.model(of: .manager).name == "claude-sonnet-5-5")
        #expect(settings.model(of: .tester).effort == .high && settings.model(of: .manager).effort == .low)
        #expect(TeamRole.allCases.map { settings.roles[$0].turns } == [30, 60, 60, 9, 60])
    }

    @Test func prices() throws {
        let settings = try load(
            file: """
                [prices."gpt-4.1"]
                input = 2
                output = 8
                [prices.local]
                input = 0
                """)
        #expect(settings.prices["gpt-4.1"] == Settings.Price(input: 2, output: 8))
        #expect(settings.prices["local"] == Settings.Price(input: 0))
        #expect(try Setting(named: #"prices."gpt-4.1".output"#).value(settings) == .number(8))
    }

    @Test func theSandboxsLimits() throws {
        let limits = try load(
            file: """
                [sandbox]
                seconds = 5
                max_seconds = 7
                memory_mib = 300
                processes = 20
                file_mib = 2
                output_kib = 3
                build_seconds = 1.5
                boot_seconds = 2.5
                """
        ).sandbox.limits
        #expect(limits.sandbox.seconds == 5 && limits.shellMaxSeconds == 7)
        #expect(limits.sandbox.memory == 300 << 20 && limits.sandbox.processes == 20)
        #expect(limits.sandbox.fileSize == 2 << 20 && limits.sandbox.output == 3 << 10)
        #expect(limits.buildSeconds == 1.5 && limits.bootSeconds == 2.5)
        // The defaults are those of whoever gives none.
        let usual = Settings().sandbox.limits, plain = RunLimits()
        #expect("\(usual)" == "\(plain)")
    }
}
