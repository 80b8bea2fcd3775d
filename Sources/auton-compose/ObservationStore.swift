import AutonGate
import AutonKit
import AutonMessages
import FoundationEssentials
import SystemPackage

/// What was seen of trees, kept in the workspace, so that a composition that was cut short, or that has much in common with
/// another, need not see it again. Boots that came to no end are not kept: the machine may have been slow.
actor ObservationStore {
    private struct Entry: Codable {
        var tools: String
        var observation: Observation
    }

    private static let prefix = "seen-"
    private let directory: FilePath
    private var used: Set<String> = []

    init(_ workspace: Workspace) { directory = workspace.cache }

    func find(_ tree: String, _ arrangement: Arrangement) -> Observation? {
        let name = name(tree, arrangement)
        guard let bytes = try? Files.read(directory.appending(name)),
            let entry = try? JSONDecoder().decode(Entry.self, from: Data(bytes)), entry.tools == TreeRecord.currentTools
        else { return nil }
        used.insert(name)
        return entry.observation
    }

    func keep(_ observation: Observation, of tree: String, _ arrangement: Arrangement) {
        // Nor those of a choice of tests, which the next composition would hardly ask for.
        guard observation.endedIn == nil, arrangement.suites.count < 2 else { return }
        let name = name(tree, arrangement)
        used.insert(name)
        // Without it the next composition boots again.
        guard let data = try? JSONEncoder().encode(Entry(tools: TreeRecord.currentTools, observation: observation)) else {
            return
        }
        try? Files.createDirectories(directory)
        try? Files.replace(directory.appending(name), Array(data))
    }

    func removeUnused() {
        for name in (try? Files.list(directory)) ?? [] where name.hasPrefix(Self.prefix) && !used.contains(name) {
            try? Files.removeTree(directory.appending(name))
        }
    }

    private func name(_ tree: String, _ arrangement: Arrangement) -> String {
        "\(Self.prefix)\(tree)-\(arrangement.name).json"
    }
}
