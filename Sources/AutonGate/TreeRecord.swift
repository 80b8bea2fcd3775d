import AutonKit
import AutonMessages
import FoundationEssentials
import Glibc
import SystemPackage

/// What the build and the boots of one tree said, kept for when that tree is the base of something. Written only if all
/// of them succeeded in full, so that a record is never the reason for asking less.
package struct TreeRecord: Codable, Equatable, Sendable {
    /// Raised when the meaning changes; other records are as good as none.
    private static let currentFormat = 5

    private var format = Self.currentFormat
    /// Other tools make another image of the same tree, which takes other counts.
    private var tools = Self.currentTools
    /// The image's digest.
    var image: String
    package var tests: [TestResult]
    package var counts: InstructionCounts
    package var sections: [SectionSize]
    /// What it has to end in a panic, suite.name.
    var panics: [String]

    init(
        image: String = "", tests: [TestResult], counts: InstructionCounts = InstructionCounts(), sections: [SectionSize] = [],
        panics: [String] = []
    ) {
        self.image = image
        self.tests = tests
        self.counts = counts
        self.sections = sections
        self.panics = panics
    }

    var passed: [String] { tests.filter { $0.outcome == .ok }.map(\.name) }

    /// What the gate has seen of a tree and found nothing wrong with; nil if it has not seen it.
    package static func find(tree: String, in workspace: Workspace) -> TreeRecord? {
        guard let bytes = try? Files.read(path(tree, workspace)),
            let record = try? JSONDecoder().decode(TreeRecord.self, from: Data(bytes)),
            record.format == currentFormat, record.tools == currentTools
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

    /// The tools that are installed: asking each for its version would take longer than a boot.
    package static let currentTools = ["gcc", "nasm", "ld", "qemu-system-x86_64"].map { name in
        var status = stat()
        guard let path = Tools.find(name), stat(path.string, &status) == 0 else { return "\(name) -" }
        return "\(name) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }.joined(separator: ", ")
}
