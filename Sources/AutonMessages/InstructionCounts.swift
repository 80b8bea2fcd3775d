/// What a kernel's tests and benchmarks take, in instructions: exact, and the same for every boot of one image.
package struct InstructionCounts: Codable, Sendable, Equatable {
    /// Of one test or benchmark.
    package struct Count: Codable, Sendable, Equatable {
        package var name: String
        /// Of a benchmark: those of 1000 iterations.
        package var instructions: Int
        /// The same on the base; nil if it is not there.
        package var base: Int?

        package init(name: String, instructions: Int, base: Int? = nil) {
            self.name = name
            self.instructions = instructions
            self.base = base
        }
    }

    package var tests: [Count]
    package var benches: [Count]

    package init(tests: [Count] = [], benches: [Count] = []) {
        self.tests = tests
        self.benches = benches
    }
}
