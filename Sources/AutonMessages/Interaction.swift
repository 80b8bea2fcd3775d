/// What is one thing alone and another in company.
package struct Interaction: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable {
        /// A test's result.
        case outcome
        /// A test's result when the tests run in another order.
        case order
        /// A test's result while those of other suites run in other threads.
        case beside
        /// What a test or benchmark takes.
        case speed
        /// How long a test or benchmark has interrupts off.
        case masked
        /// What the kernel as a whole takes.
        case figure
        /// Two boots that should be the same are not.
        case chance
    }

    /// What it takes alone, or what the changes add up to, and what it takes in company.
    package struct Cost: Codable, Sendable, Equatable {
        package var alone: Int
        package var combined: Int

        package init(alone: Int, combined: Int) {
            self.alone = alone
            self.combined = combined
        }
    }

    /// Instructions spent in a function.
    package struct FunctionCost: Codable, Sendable, Equatable {
        package var function: String
        package var alone: Int
        package var combined: Int

        package init(function: String, alone: Int, combined: Int) {
            self.function = function
            self.alone = alone
            self.combined = combined
        }
    }

    /// Nil in what was filed before there were others than `outcome`.
    package var kind: Kind?
    /// The test, benchmark or figure; `boot` where a kernel does not come to its first test.
    package var test: String
    package var alone: TestResult.Outcome
    package var combined: TestResult.Outcome
    package var evidence: [String]
    /// The smallest set of tasks (or branches) that shows it, empty if it shows without any; nil where none is looked for, or where what
    /// main has is more than its tasks.
    package var blamed: [String]?
    /// The configuration in which it shows, if that is not `combined`.
    package var configuration: String?
    /// Of a speed or figure.
    package var cost: Cost?
    /// Where the instructions of a slowdown are spent, most of the growth first. A benchmark runs some thousand iterations.
    package var functions: [FunctionCost]?

    package init(
        kind: Kind? = nil, test: String, alone: TestResult.Outcome, combined: TestResult.Outcome, evidence: [String],
        blamed: [String]? = nil, configuration: String? = nil, cost: Cost? = nil, functions: [FunctionCost]? = nil
    ) {
        self.kind = kind
        self.test = test
        self.alone = alone
        self.combined = combined
        self.evidence = evidence
        self.blamed = blamed
        self.configuration = configuration
        self.cost = cost
        self.functions = functions
    }
}

extension Interaction {
    /// One line: `ipc.pump: 1,000 instructions alone, 3,000 combined (+200%); shown by disk + net`.
    package var summary: String {
        let place = configuration ?? "combined"
        let what: String
        switch (kind, cost) {
        case (.chance, _): what = "\(alone.rawValue), then \(combined.rawValue), \(place)"
        case (.figure, let cost?): what = "\(cost.combined) in place of \(cost.alone) (\(cost.change)), \(place)"
        case (.masked, let cost?):
            what = "interrupts off for \(cost.alone) instructions alone, \(cost.combined) \(place) (\(cost.change))"
        case (_, let cost?): what = "\(cost.alone) instructions alone, \(cost.combined) \(place) (\(cost.change))"
        default: what = "\(alone.rawValue) alone, \(combined.rawValue) \(place)"
        }
        return "\(test): \(what)"
            + (blamed.map { "; shown by \($0.isEmpty ? "what is there without any change" : $0.joined(separator: " + "))" } ?? "")
    }

    /// What bears it out: what the boots said, and the functions that grow.
    package var details: [String] {
        let grown = (functions ?? []).reduce(0) { $0 + $1.combined - $1.alone }
        return evidence
            + (functions ?? []).map { function in
                let share = Int((Double(function.combined - function.alone) / Double(max(1, grown)) * 100).rounded())
                return "\(share)% of what is more in \(function.function)"
            }
    }
}

extension Interaction.Cost {
    /// `+12.5%`.
    package var change: String {
        guard alone > 0 else { return combined > 0 ? "from nothing" : "+0.0%" }
        let tenths = Int((Double(combined - alone) / Double(alone) * 1000).rounded())
        return "\(tenths < 0 ? "-" : "+")\(tenths.magnitude / 10).\(tenths.magnitude % 10)%"
    }
}
