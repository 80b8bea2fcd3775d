import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import auton_compose

@Suite struct ComposerTests {
    /// What failed once, by the clock, on a busy machine, is no finding, and is told.
    @Test func whatWasExcusedIsTold() async throws {
        let directory = try TemporaryDirectory()
        let workspace = try await Workspace.open(
            directory["workspace"], from: Program.package.appending("kernel"), origin: .kernel)
        let main = try await workspace.main(), assembly = Assembly(workspace: workspace, base: main, parts: [])
        let laboratory = try await Laboratory(
            workspace: workspace, base: main, whole: main, purpose: "test", limits: RunLimits(), processors: 1)
        let composer = Composer(
            assembly: assembly, whole: main, laboratory: laboratory,
            demand: .init(share: 5, orders: 0, allPairs: false, profiler: FilePath("profile.c")))
        var survey = Survey(assembly: assembly, whole: main), second = Observation()
        second.excuse = "others had 50% of the machine; at first: 1 test failed: sched.late"
        survey.byClock = [Observation(), second]
        let composition = Composition(
            commit: main, tree: main, configurations: composer.configurations(survey), interactions: [], console: [])
        #expect(composition.matrix.contains("clock 2: others had 50% of the machine; at first: 1 test failed: sched.late\n"))
        #expect(!composition.matrix.contains("clock 1"))
    }
}
