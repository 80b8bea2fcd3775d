import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import auton_compose

/// What a whole is seen to take, in several boots of it.
@Suite struct SpeedFindingsTests {
    private func observation(_ tests: [String: Int], benches: [String: Int] = [:]) -> Observation {
        var observation = Observation()
        observation.counts.tests = tests.map { .init(name: $0, instructions: $1) }
        observation.counts.benches = benches.map { .init(name: $0, instructions: $1) }
        return observation
    }

    /// It may have waited for a clock; a benchmark does not.
    @Test func aTestTakesWhatItTakesAtLeast() async throws {
        let directory = try TemporaryDirectory()
        let kernel = Program.package.appending("kernel")
        let workspace = try await Workspace.open(directory["workspace"], from: kernel, origin: .kernel)
        let main = try await workspace.main()
        var survey = Survey(assembly: Assembly(workspace: workspace, base: main, parts: []), whole: main)
        survey.combined = observation(["a.waits": 900, "a.works": 50, "b.alone": 7], benches: ["a.bench": 30])
        survey.orders = [(name: "reverse", observation: observation(["a.waits": 200, "a.works": 60, "b.alone": 7]))]
        survey.suites = [(name: "a", observation: observation(["a.waits": 300, "a.works": 40], benches: ["a.bench": 20]))]
        let measures = SpeedFindings.measures(share: 5).map { $0.ofWhole(survey) }
        #expect(measures[0] == ["a.bench": 30])
        #expect(measures[1] == ["a.waits": 200, "a.works": 40, "b.alone": 7])
    }
}
