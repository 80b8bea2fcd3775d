import AutonGate
import AutonKit

/// What a part has to do with others: by the files that it changes, by the functions and variables that these define and
/// name, and by the linker's tables that they enter something into.
struct Touch: Sendable {
    /// Kinds of things are told apart by their first word.
    private(set) var things: Set<String>
    /// Of the things, the functions that it changes.
    private var changed: Set<String>

    /// The macros of harness.h that enter something into a table of the linker's. Everybody has tests.
    private static let tables: Set<String> = ["INIT", "KFIGURE"]
    /// What the harness gives, all tests use.
    private static let ofHarness = ["ktest_", "kbench_", "kfigure_", "kpanic_", "harness_", "report_", "fw_cfg_"]

    /// - Parameters:
    ///   - change: what the part changes.
    ///   - globals: the names that the whole kernel has for all of its files.
    init(_ change: Change, globals: Set<String>) {
        things = Set(change.files.map { "file \($0.path)" })
        changed = []
        for file in change.files {
            let words = Self.words(file.text ?? [])
            for word in words.union(file.functions).intersection(globals)
            where !Self.ofHarness.contains(where: word.hasPrefix) { things.insert("symbol \(word)") }
            things.formUnion(words.intersection(Self.tables).map { "table \($0)" })
            changed.formUnion(file.functions.map { "symbol \($0)" })
        }
        changed.formIntersection(things)
    }

    /// Comments and all: a name in passing makes a pair more, and no harm.
    private static func words(_ text: [UInt8]) -> Set<String> {
        Set(text.split { !$0.isOfName }.map { String(decoding: $0, as: UTF8.self) })
    }

    /// What more parts than these have in common does not bring two of them together: pairs would grow with the square
    /// of the parts.
    static let most = 4

    /// The pairs of parts, by their places, that touch each other: one changes a file that the other changes, names what the
    /// other changes, or names something that few others do.
    static func pairs(_ touches: [Touch]) -> [(Int, Int)] {
        var owners: [String: [Int]] = [:]
        for (index, touch) in touches.enumerated() {
            for thing in touch.things { owners[thing, default: []].append(index) }
        }
        var pairs: Set<[Int]> = []
        for (thing, indices) in owners {
            for one in indices.count <= most ? indices : indices.filter({ touches[$0].changed.contains(thing) }) {
                for other in indices where other != one { pairs.insert([one, other].sorted()) }
            }
        }
        return pairs.map { ($0[0], $0[1]) }.sorted { $0 < $1 }
    }
}
