import AutonKit
import AutonMessages

extension Composition {
    /// Tests and benchmarks by configuration, figures, boots that went wrong, and the interactions below.
    var matrix: String {
        let found = interactions.map { (["INTERACTION \($0.summary)"] + $0.details.map { "    " + $0 }).joined(separator: "\n") }
        let changed = (changes ?? []).map { part in
            (["\(part.part) (\(part.branch ?? part.part), \(part.commit.prefix(12))) changes"] + part.change.files.map(\.place))
                .joined(separator: "\n    ")
        }
        let work = builds.flatMap { builds in boots.map { ["\(builds) builds, \($0) boots"] } } ?? []
        let sections = [tests, benches, masked, sums].filter { $0.count > 1 }.map(Table.format)
        return (sections + wrong + work + (found.isEmpty ? ["no interaction found"] : found) + changed).joined(separator: "\n")
    }

    /// Boots that did not end as they should.
    private var wrong: [String] { configurations.filter { !$0.failure.isEmpty }.map { "\($0.name): \($0.failure)" } }

    private var tests: [[String]] {
        let orders = configurations.filter { $0.name.hasPrefix("order ") || $0.name.hasPrefix("beside ") }
        let head = ["TEST", "CHANGE", "SUITE"] + orders.map { $0.name.uppercased() } + ["COMBINED", "ALONE", "COMBINED", ""]
        return [head]
            + names(of: { $0.tests.map(\.name) }).map { name in
                let home = home(of: name) { $0.tests.map(\.name) }
                let shown: [Configuration?] = [home, suite(of: name)] + orders + [configurations.first]
                let outcomes = shown.map { $0?.tests.first { $0.name == name }?.outcome.rawValue ?? "-" }
                let counts = [home, configurations.first].map { $0?.counts?.tests.first { $0.name == name }?.instructions }
                return [name] + outcomes + compare(counts)
            }
    }

    private var benches: [[String]] {
        let list = { (configuration: Configuration) in configuration.counts?.benches.map(\.name) ?? [] }
        return [["BENCHMARK", "SUITE", "ALONE", "COMBINED", ""]]
            + names(of: list).map { name in
                let counts = [suite(of: name), home(of: name, list), configurations.first].map {
                    $0?.counts?.benches.first { $0.name == name }?.instructions
                }
                return [name, counts[0].map(String.init) ?? "-"] + compare([counts[1], counts[2]])
            }
    }

    /// Those that have interrupts off longest, where they go off, and on again.
    private var masked: [[String]] {
        let counts = { (configuration: Configuration?) in (configuration?.counts).map { $0.tests + $0.benches } ?? [] }
        let longest = counts(configurations.first).filter { $0.masked != nil }
            .sorted { ($1.masked!.instructions, $0.name) < ($0.masked!.instructions, $1.name) }.prefix(10)
        return [["INTERRUPTS OFF", "ALONE", "COMBINED", "", "OFF IN", "ON IN"]]
            + longest.map { count in
                let home = home(of: count.name) { counts($0).map(\.name) }
                let alone = counts(home).first { $0.name == count.name }?.masked?.instructions
                return [count.name] + compare([alone, count.masked!.instructions]) + [count.masked!.off, count.masked!.on]
            }
    }

    private var sums: [[String]] {
        [["FIGURE", "BASE", "SUM", "COMBINED", ""]]
            + (figures ?? []).map { [$0.name, String($0.base)] + compare([$0.expected, $0.combined]) }
    }

    /// Two numbers, and the change from one to the other.
    private func compare(_ counts: [Int?]) -> [String] {
        let change = counts[0].flatMap { one in counts[1].map { Interaction.Cost(alone: one, combined: $0).change } }
        return counts.map { $0.map(String.init) ?? "-" } + [change ?? ""]
    }

    private func names(of list: (Configuration) -> [String]) -> [String] {
        var known: Set<String> = []
        return configurations.flatMap(list).filter { known.insert($0).inserted }
    }

    private func suite(of name: String) -> Configuration? {
        let suite = name.prefix { $0 != "." }
        return configurations.first { $0.name == suite }
    }

    /// The base if it has it, or the change that brought it.
    private func home(of name: String, _ list: (Configuration) -> [String]) -> Configuration? {
        let suite = String(name.prefix { $0 != "." })
        return configurations.dropFirst().first { $0.name != suite && list($0).contains(name) }
    }
}

extension FileChange {
    /// Its hunks, by lines as they are now, and its functions: `mm/frames.c:12-30,41 (frame_alloc)`.
    fileprivate var place: String {
        let lines = hunks.map { $0.newLines > 1 ? "\($0.newStart)-\($0.newStart + $0.newLines - 1)" : String($0.newStart) }
        return path + (lines.isEmpty ? "" : ":" + lines.joined(separator: ","))
            + (functions.isEmpty ? "" : " (\(functions.joined(separator: ", ")))")
    }
}
