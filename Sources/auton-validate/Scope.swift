import AutonKit
import AutonMessages
import FoundationEssentials
import SystemPackage

/// The paths that a change judged by hand may touch.
enum Scope {
    private struct Task: Decodable { var paths: [String] }

    /// - Parameters:
    ///   - paths: given one by one or with commas.
    ///   - task: a file with a task, as the mailbox or a plan has it.
    /// - Returns: nil if neither is given: all paths.
    static func paths(_ paths: [String], task: String?) throws -> [String]? {
        let given = paths.flatMap { $0.split(separator: ",").map(String.init) }
        guard let task else { return paths.isEmpty ? nil : given }
        do {
            return given + (try JSONDecoder().decode(Task.self, from: Data(Files.read(FilePath(task))))).paths
        } catch is DecodingError {
            throw AutonError(.badInput, "not a task, which is a JSON object with paths", at: task)
        }
    }
}
