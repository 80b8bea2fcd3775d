import AutonKit
import AutonModel
import SystemPackage

/// The tools that read a work tree: `list`, `search`, `read`.
package func readingTools(_ directory: ConfinedDirectory) -> [any AgentTool] {
    [ListTool(directory: directory), SearchTool(directory: directory), ReadTool(directory: directory)]
}

/// The tools that change it: `write`, `edit`.
package func writingTools(_ directory: ConfinedDirectory) -> [any AgentTool] {
    [WriteTool(directory: directory), EditTool(directory: directory)]
}

/// Turns a refused path into what the model is told.
private func refusing(_ body: () throws -> ToolOutput) throws -> ToolOutput {
    do {
        return try body()
    } catch let refusal as ConfinedDirectory.Refusal {
        return .error(refusal.reason)
    }
}

private let pathProperty: JSONValue = ["type": "string", "description": "Relative to the work tree's root."]

struct ListTool: AgentTool {
    let directory: ConfinedDirectory
    private static let limit = 500

    let definition = Tool(
        "list", "List all files below a directory with their sizes in bytes. Build output is left out.",
        ["path": ["type": "string", "description": "A directory; the whole tree if left out."]], optional: ["path"])

    func call(_ input: JSONValue) throws -> ToolOutput {
        try refusing {
            let files = try directory.list(input["path"]?.string ?? "")
            let lines = files.prefix(Self.limit).map { "\($0.path)  \($0.bytes)" }
            let more = files.count > Self.limit ? ["[… \(files.count - Self.limit) more files …]"] : []
            return .ok(files.isEmpty ? "no files" : (lines + more).joined(separator: "\n"))
        }
    }
}

struct SearchTool: AgentTool {
    let directory: ConfinedDirectory
    private static let limit = 100

    let definition = Tool(
        "search",
        "Search the files' lines for an extended regular expression (grep -E). Prints path:line:text, 100 lines at most.",
        [
            "pattern": ["type": "string", "minLength": 1],
            "path": ["type": "string", "description": "A file or directory; the whole tree if left out."],
        ],
        optional: ["path"])

    func call(_ input: JSONValue) async throws -> ToolOutput {
        let path = input["path"]?.string ?? "."
        do { _ = try directory.resolve(path) } catch { return .error(error.reason) }
        var sandbox = Sandbox(directory.root)
        sandbox.isWritable = false
        sandbox.limits.seconds = 20
        let script = #"grep -rHnIE --exclude-dir=build -e "$1" -- "$2" | sed 's|^\./||' | sort -t: -k1,1 -k2,2n"#
        let result = try await sandbox.run("sh", ["-c", script, "search", input["pattern"]?.string ?? "", path])
        if !result.errors.text.isEmpty { return .error(result.errors.text) }
        let lines = result.output.text.split(separator: "\n")
        let more = lines.count > Self.limit ? "\n[… \(lines.count - Self.limit) more lines …]" : ""
        return .ok(lines.isEmpty ? "no match" : lines.prefix(Self.limit).joined(separator: "\n") + more)
    }
}

struct ReadTool: AgentTool {
    let directory: ConfinedDirectory
    private static let limit = 600

    let definition = Tool(
        "read", "Read a file's lines, numbered; 600 lines at most a call.",
        ["path": pathProperty, "from": ["type": "integer", "minimum": 1, "description": "First line; 1 if left out."]],
        optional: ["from"])

    func call(_ input: JSONValue) throws -> ToolOutput {
        try refusing {
            let path = input["path"]?.string ?? ""
            var lines = try directory.read(path).split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
            if lines.last == "" { lines.removeLast() }
            let from = input["from"]?.integer ?? 1
            guard from <= max(1, lines.count) else { return .error("\(path): has \(lines.count) lines") }
            let shown = lines.enumerated().dropFirst(from - 1).prefix(Self.limit)
            let text = shown.map { "\($0 + 1)\t\($1)" }.joined(separator: "\n")
            let rest = lines.count - (from - 1) - shown.count
            return .ok(
                lines.isEmpty
                    ? "the file is empty" : rest > 0 ? text + "\n[… \(rest) more lines, read from \(from + shown.count) …]" : text
            )
        }
    }
}

struct WriteTool: AgentTool {
    let directory: ConfinedDirectory

    let definition = Tool(
        "write", "Write a whole file, replacing what was there. Directories are made as needed.",
        ["path": pathProperty, "content": ["type": "string"]])

    func call(_ input: JSONValue) throws -> ToolOutput {
        try refusing {
            let path = input["path"]?.string ?? "", content = input["content"]?.string ?? ""
            try directory.write(path, content)
            return .ok("wrote \(content.utf8.count) bytes to \(path)")
        }
    }
}

struct EditTool: AgentTool {
    let directory: ConfinedDirectory

    let definition = Tool(
        "edit", "Replace a passage of a file. `old` must occur exactly once; give enough lines around it.",
        ["path": pathProperty, "old": ["type": "string", "minLength": 1], "new": ["type": "string"]])

    func call(_ input: JSONValue) throws -> ToolOutput {
        try refusing {
            let path = input["path"]?.string ?? "", old = input["old"]?.string ?? "", new = input["new"]?.string ?? ""
            let text = try directory.read(path)
            let parts = text.split(separator: old, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                return .error(
                    parts.count == 1 ? "\(path): `old` does not occur" : "\(path): `old` occurs \(parts.count - 1) times")
            }
            // What overlaps itself is one for split, and still in two places.
            if text.dropFirst(parts[0].count + 1).firstRange(of: old) != nil {
                return .error("\(path): `old` occurs 2 times")
            }
            try directory.write(path, parts.joined(separator: new))
            return .ok("replaced 1 passage in \(path)")
        }
    }
}
