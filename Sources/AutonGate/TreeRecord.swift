import AutonKit
import AutonMessages
import FoundationEssentials
import SystemPackage

/// What the boot of one tree said, kept for when that tree is the base of something. Written only if the build and
/// the boot succeeded in full, so that a record is never the reason for asking less.
struct TreeRecord: Codable, Equatable {
    /// Raised when the meaning changes; other records are as good as none.
    private static let currentFormat = 1

    private var format = Self.currentFormat
    var tests: [TestResult]

    init(tests: [TestResult]) { self.tests = tests }

    var passed: [String] { tests.filter { $0.outcome == .ok }.map(\.name) }

    static func find(tree: String, in workspace: Workspace) -> TreeRecord? {
        guard let bytes = try? Files.read(path(tree, workspace)),
            let record = try? JSONDecoder().decode(TreeRecord.self, from: Data(bytes)), record.format == currentFormat
        else { return nil }
        return record
    }

    func save(tree: String, in workspace: Workspace) throws {
        let path = Self.path(tree, workspace)
        if Files.exists(path), Self.find(tree: tree, in: workspace) == self { return }
        try Files.createDirectories(workspace.cache)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try Files.replace(path, Array(try encoder.encode(self)))
    }

    private static func path(_ tree: String, _ workspace: Workspace) -> FilePath {
        workspace.cache.appending("boot-\(tree).json")
    }
}
