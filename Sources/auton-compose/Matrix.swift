import AutonKit
import AutonMessages

extension Composition {
    /// Tests by configuration, boots that went wrong, and the interactions below.
    var matrix: String {
        guard let combined = configurations.first else { return "" }
        let names = configurations.flatMap(\.tests).map(\.name)
        let tests = names.enumerated().filter { names.firstIndex(of: $1) == $0 }.map(\.element)
        let rows = tests.map { name in
            let suite = String(name.prefix { $0 != "." })
            let alone = configurations.dropFirst().first { $0.name == suite }
            let brought = configurations.dropFirst().first { $0.name != suite && $0.tests.contains { $0.name == name } }
            return [name, outcome(of: name, in: brought), outcome(of: name, in: alone), outcome(of: name, in: combined)]
        }
        let boots = configurations.filter { !$0.failure.isEmpty }.map { "\($0.name): \($0.failure)" }
        let found = interactions.map { interaction in
            "INTERACTION \(interaction.test): \(interaction.alone.rawValue) alone, \(interaction.combined.rawValue) combined"
                + (interaction.blamed.map { $0.isEmpty ? "" : "; shown by \($0.joined(separator: " + "))" } ?? "")
        }
        return
            ([Table.format([["TEST", "CHANGE", "SUITE", "COMBINED"]] + rows)] + boots
            + (found.isEmpty ? ["no interaction found"] : found))
            .joined(separator: "\n")
    }

    private func outcome(of test: String, in configuration: Configuration?) -> String {
        configuration?.tests.first { $0.name == test }?.outcome.rawValue ?? "-"
    }
}
