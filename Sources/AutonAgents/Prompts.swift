import AutonKit
import Glibc
import SystemPackage

/// The role prompts: Markdown files that a user can read and edit.
package struct Prompts: Sendable {
    private let directory: FilePath

    package init(_ directory: FilePath) { self.directory = directory }

    /// The system prompt of a role. `{{name}}` stands for a fact that the program knows better than the file.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if there is no such prompt, or it names an unknown fact.
    package func load(_ role: String, facts: [String: String]) throws -> String {
        let path = directory.appending(role + ".md")
        guard Files.exists(path) else {
            throw AutonError(.badConfiguration, "no prompt for the role \(role)", at: path.string)
        }
        var text = try Files.readText(path)
        for (name, value) in facts.sorted(by: { $0.key < $1.key }) { text = text.replacing("{{\(name)}}", with: value) }
        if let open = text.firstRange(of: "{{") {
            throw AutonError(.badConfiguration, "unknown fact \(text[open.lowerBound...].prefix(40))", at: path.string)
        }
        return text
    }
}
