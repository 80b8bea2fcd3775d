import Testing

@testable import auton_compose

@Suite struct DeltaDebuggingTests {
    private actor Trials {
        private(set) var sets: [[Int]] = []
        func note(_ set: [Int]) { sets.append(set) }
    }

    /// Every set of guilty items of one to four is found exactly, among eight.
    @Test func everyGuiltySetIsFound() async throws {
        let all = Array(0..<8)
        for mask in 1..<256 {
            let guilty = Set(all.filter { mask & 1 << $0 != 0 })
            if guilty.count > 4 { continue }
            #expect(try await minimize(all) { guilty.isSubset(of: $0) } == guilty.sorted())
        }
    }

    @Test func oneItemIsMinimal() async throws {
        #expect(
            try await minimize([7]) { _ in
                Issue.record("tried"); return true
            } == [7])
        #expect(try await minimize([Int]()) { _ in true } == [])
    }

    /// Of two sets that show it, one is found whole, whatever else is there.
    @Test func theResultIsOneMinimal() async throws {
        let shows: @Sendable ([Int]) -> Bool = { ($0.contains(1) && $0.contains(6)) || ($0.contains(2) && $0.contains(3)) }
        let found = try await minimize(Array(0..<8)) { shows($0) }
        #expect(shows(found))
        for item in found { #expect(!shows(found.filter { $0 != item })) }
    }

    /// Two of 64 cost tens of trials and not thousands.
    @Test func fewTrials() async throws {
        let trials = Trials()
        let found = try await minimize(Array(0..<64)) { set in
            await trials.note(set)
            return set.contains(13) && set.contains(50)
        }
        #expect(found == [13, 50])
        #expect(await trials.sets.count < 200)
    }

    @Test func whatCannotBeTriedEndsIt() async {
        struct Broken: Error {}
        await #expect(throws: Broken.self) { try await minimize([1, 2, 3]) { _ in throw Broken() } }
    }
}
