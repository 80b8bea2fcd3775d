import AutonKit
import Testing

@testable import AutonSettings

/// The table of settings against the structs that it fills.
@Suite struct TableTests {
    @Test func everyFieldHasASettingAndTheOtherWayRound() {
        let settings = Settings()
        let sections: [String: Any] = [
            "model": settings.model, "team": settings.team, "budget": settings.budget, "sandbox": settings.sandbox,
            "paths": settings.paths,
        ]
        for (name, section) in sections {
            #expect(Mirror(reflecting: section).children.count == Setting.all.count { $0.parts[0] == name }, "\(name)")
        }
        let role = Mirror(reflecting: settings.roles[.manager]).children.count
        #expect(role * TeamRole.allCases.count == Setting.all.count { $0.parts[0] == "roles" })
        #expect(Mirror(reflecting: Settings.Price()).children.count == Setting.prices(of: "m").count)
        // No field twice.
        for setting in Setting.all { #expect(Setting.of(setting.field).key == setting.key) }
    }

    @Test func variablesAreNamedAfterKeysOrAsTheyAlwaysWere() {
        let named = Setting.all.filter { $0.variable != "AUTON_" + $0.parts.joined(separator: "_").uppercased() }
        #expect(
            named.map { "\($0.key) \($0.variable ?? "")" } == [
                "model.uri AUTON_MODEL", "model.base_url ANTHROPIC_BASE_URL", "team.developers AUTON_DEVELOPERS",
                "team.attempts AUTON_ATTEMPTS", "team.replans AUTON_REPLANS", "paths.mailbox AUTON_MAILBOX",
                "paths.workspace AUTON_WORKSPACE", "paths.runs AUTON_RUNS", "paths.prompts AUTON_PROMPTS",
                "paths.kernel AUTON_KERNEL", "paths.models AUTON_MODELS", "paths.desk AUTON_DESK",
            ])
        #expect(Set(Setting.all.map(\.variable)).count == Setting.all.count)
    }

    @Test func defaultsAndExamplesAreAllowed() {
        for setting in Setting.all + Setting.prices(of: "m") {
            var settings = Settings()
            let value = setting.value(settings)
            #expect((value == nil) == (setting.example != nil), "\(setting.key)")
            guard let shown = value ?? setting.example else { continue }
            #expect(setting.store(&settings, shown) && setting.value(settings) == shown, "\(setting.key)")
        }
    }

    @Test(arguments: [
        ("budget.usdd", "budget.usd"), ("budgit.usd", "budget.usd"), ("usd", "budget.usd"), ("developers", "team.developers"),
        ("team.reviewer", "team.reviewers"), ("role.manager.turns", "roles.manager.turns"), ("budgt", "budget"),
        ("modle.name", "model.name"), ("modle", "model"), ("modl.x", "model"), ("roles.manger.x", "roles.manager"),
        ("price.x.input", "prices"), ("model.key", "model.key_file"), ("model.url", "model.base_url"),
        ("modle.key", "model.key_file"), ("budget.task.usd", "budget.task_usd"), ("developer.turns", "roles.developer.turns"),
        ("model.xyzzy", nil), ("prics", "prices"), ("model.maxtokens", "model.max_tokens"), ("x", nil),
        ("colour.scheme", nil), ("", nil),
    ])
    func whatSomebodyMeant(_ written: String, _ meant: String?) {
        #expect(Nearest.key(to: written.split(separator: ".").map(String.init)) == meant)
    }

    @Test(arguments: [
        ("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 1),
        ("abcd", "badc", 2), ("ca", "abc", 3),
    ])
    func theDistanceOfTexts(_ a: String, _ b: String, _ distance: Int) {
        #expect(Nearest.distance(a, b) == distance)
    }

    @Test func textIsWrittenSoThatTOMLReadsIt() throws {
        let text = "\" \\ \n\r\t\u{7f}\u{0}é\u{1F600}"
        #expect(SettingValue.string(text).toml == #""\" \\ \n\u000d\u0009\u007f\u0000é😀""#)
        let harmless = text.replacing("\u{0}", with: "")
        #expect(SettingsFile.value(typed: SettingValue.string(harmless).toml) == .string(harmless))
        #expect(SettingValue.key(["prices", "gpt-4.1", "a_b"]) == #"prices."gpt-4.1".a_b"#)
    }
}
