/// What a kernel's tests and benchmarks take, in instructions: exact, and the same for every boot of one image.
package struct InstructionCounts: Codable, Sendable, Equatable {
    /// Of one test or benchmark.
    package struct Count: Codable, Sendable, Equatable {
        package var name: String
        /// Of a benchmark: those of 1000 iterations.
        package var instructions: Int
        /// The same on the base; nil if it is not there.
        package var base: Int?
        /// The longest time in which no interrupt could be taken; nil if there was none, or if it was not seen.
        package var masked: Masked?

        package init(name: String, instructions: Int, base: Int? = nil, masked: Masked? = nil) {
            self.name = name
            self.instructions = instructions
            self.base = base
            self.masked = masked
        }

        /// What is before the first dot of its name.
        package var suite: String { String(name.prefix { $0 != "." }) }
    }

    /// A time with interrupts off.
    package struct Masked: Codable, Sendable, Equatable {
        package var instructions: Int
        /// The functions in which they went off, and on again.
        package var off: String
        package var on: String

        package init(instructions: Int, off: String, on: String) {
            self.instructions = instructions
            self.off = off
            self.on = on
        }
    }

    package var tests: [Count]
    package var benches: [Count]
    /// What the booted kernel said of itself before its first test; none in messages that are older than they.
    package var figures: [Figure]

    package init(tests: [Count] = [], benches: [Count] = [], figures: [Figure] = []) {
        self.tests = tests
        self.benches = benches
        self.figures = figures
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        tests = try container.decode([Count].self, forKey: .tests)
        benches = try container.decode([Count].self, forKey: .benches)
        figures = try container.decodeIfPresent([Figure].self, forKey: .figures) ?? []
    }
}

/// A number that tells how large a booted kernel is, or how long it took to get there: `boot.instructions`, a section's
/// bytes, or one of its own (`KFIGURE` in harness.h).
package struct Figure: Codable, Sendable, Equatable {
    package var name: String
    package var value: Int

    package init(name: String, value: Int) {
        self.name = name
        self.value = value
    }
}
