import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import auton_compose

/// What a whole is seen to take, in several boots of it.
@Suite struct SpeedFindingsTests {
    private let directory = try! TemporaryDirectory()

    private func observation(
        _ tests: [String: Int] = [:], benches: [String: Int] = [:], figures: [String: Int] = [:]
    ) -> Observation {
        var observation = Observation()
        observation.counts.figures = figures.map { Figure(name: $0, value: $1) }
        observation.counts.tests = tests.map { .init(name: $0, instructions: $1) }
        observation.counts.benches = benches.map { .init(name: $0, instructions: $1) }
        return observation
    }

    /// It may have waited for a clock; a benchmark does not.
    @Test func aTestTakesWhatItTakesAtLeast() async throws {
        let workspace = try await workspace(), main = try await workspace.main()
        var survey = Survey(assembly: Assembly(workspace: workspace, base: main, parts: []), whole: main)
        survey.combined = observation(["a.waits": 900, "a.works": 50, "b.alone": 7], benches: ["a.bench": 30])
        survey.orders = [(name: "reverse", observation: observation(["a.waits": 200, "a.works": 60, "b.alone": 7]))]
        survey.suites = [(name: "a", observation: observation(["a.waits": 300, "a.works": 40], benches: ["a.bench": 20]))]
        let measures = SpeedFindings.measures(share: 5).map { $0.ofWhole(survey) }
        #expect(measures[0] == ["a.bench": 30])
        #expect(measures[1] == ["a.waits": 200, "a.works": 40, "b.alone": 7])
    }
    private func workspace() async throws -> Workspace {
        try await Workspace.open(directory["workspace"], from: Program.package.appending("kernel"), origin: .kernel)
    }

    /// What is found in a whole, of a base and parts that were each made on a ground.
    private func found(
        base: Observation, _ parts: [(ground: Observation, with: Observation)], whole: Observation
    ) async throws -> [String] {
        let workspace = try await workspace(), main = try await workspace.main()
        let names = parts.indices.map { Part(name: "p\($0)", base: main, commit: main) }
        var survey = Survey(assembly: Assembly(workspace: workspace, base: main, parts: names), whole: main)
        (survey.base, survey.combined) = (base, whole)
        (survey.grounds, survey.parts) = (parts.map(\.ground), parts.map(\.with))
        let laboratory = try await Laboratory(
            workspace: workspace, base: main, whole: main, purpose: "test", limits: RunLimits(), processors: 1)
        return SpeedFindings(survey: survey, laboratory: laboratory, share: 5).all().map {
            "\($0.interaction.test) \($0.interaction.cost?.alone ?? 0) \($0.interaction.cost?.combined ?? 0)"
        }
    }

    /// The observations of a bench that takes these.
    private func found(bench base: Int, _ parts: [(Int, Int)], whole: Int) async throws -> [String] {
        let bench = { (n: Int) in observation(benches: ["m.b": n]) }
        return try await found(base: bench(base), parts.map { (bench($0), bench($1)) }, whole: bench(whole))
    }

    /// One after the other, on what those before left, each a little: none is slower alone, all are.
    @Test func slowerByAndBy() async throws {
        #expect(try await found(bench: 1000, [(1000, 1030), (1030, 1060), (1060, 1090)], whole: 1090) == ["m.b 1000 1090"])
        #expect(try await found(bench: 1000, [(1000, 1010), (1010, 1020), (1020, 1030)], whole: 1030) == [])
    }

    /// What one made slower by itself its gate has seen, on whatever it was made.
    @Test func slowerByItself() async throws {
        #expect(try await found(bench: 1000, [(1000, 1200), (1000, 1000)], whole: 1200) == [])
        #expect(try await found(bench: 1000, [(1000, 1200), (1200, 1400)], whole: 1400) == [])
        #expect(try await found(bench: 1000, [(1000, 1200), (1000, 1200)], whole: 1400) == ["m.b 1200 1400"])
    }

    @Test func fasterAloneThanInCompany() async throws {
        #expect(try await found(bench: 1000, [(1000, 500), (1000, 1000)], whole: 1000) == ["m.b 500 1000"])
        #expect(try await found(bench: 1000, [(1000, 500), (1000, 1000)], whole: 510) == [])
        #expect(try await found(bench: 1000, [(1000, 500), (500, 1000)], whole: 1000) == [])
    }

    /// Bytes of a section, which ends on a page, and frames; a figure of the base, and one that a part brings.
    @Test func figures() async throws {
        func figures(_ bytes: Int, _ frames: Int, _ other: Int? = nil) -> Observation {
            var all = ["image.text": bytes, "mm.frames_used": frames]
            all["p.other"] = other
            return observation(figures: all)
        }
        let base = figures(10_000, 40)
        let parts = [(ground: base, with: figures(10_100, 42, 100)), (ground: base, with: figures(10_200, 41))]
        #expect(try await found(base: base, parts, whole: figures(14_000, 47, 100)) == [])
        #expect(try await found(base: base, parts, whole: figures(10_300, 50, 100)) == ["mm.frames_used 43 50"])
        #expect(try await found(base: base, parts, whole: figures(10_300, 43, 300)) == ["p.other 100 300"])
    }
}
