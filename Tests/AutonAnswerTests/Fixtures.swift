import AutonKit
import Glibc
import SystemPackage

@testable import AutonModel
@testable import auton_answer

/// A directory of a test's own, gone with it.
final class TemporaryDirectory: Sendable {
    let path: FilePath

    init() throws {
        var name = Array("/tmp/auton-answer.XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw AutonError(.tryAgain, "no temporary directory") }
        path = FilePath(name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
    }

    deinit { try? Files.removeTree(path) }

    func write(_ name: String, _ text: String) throws -> FilePath {
        let file = path.appending(name)
        try Files.write(file, Array(text.utf8), sync: false)
        return file
    }
}

let someTools = [
    tool("list", "List files.", ["path": ["type": "string"]], required: []),
    tool(
        "write", "Write a whole file.",
        ["path": ["type": "string", "description": "Relative to the root."], "content": ["type": "string"]],
        required: ["content", "path"]),
    tool(
        "edit", "Replace a passage.",
        ["path": ["type": "string"], "old": ["type": "string", "minLength": 1], "new": ["type": "string"]],
        required: ["new", "old", "path"]),
    tool(
        "shell", "Run a script.", ["script": ["type": "string"], "seconds": ["type": "integer", "minimum": 1, "maximum": 300]],
        required: ["script"]),
    tool(
        "test", "Boot suites.", ["suites": ["type": "array", "items": ["type": "string"]], "bench": ["type": "boolean"]],
        required: []),
    tool(
        "review", "File the review.",
        [
            "verdict": ["enum": ["approve", "changes-requested"]], "summary": ["type": "string"],
            "comments": ["type": "array", "items": ["$ref": "#/$defs/comment"]],
        ], required: ["comments", "summary", "verdict"],
        definitions: [
            "comment": [
                "type": "object", "required": ["path", "text"], "additionalProperties": false,
                "properties": ["path": ["type": "string"], "line": ["type": "integer"], "text": ["type": "string"]],
            ]
        ]),
]

private func tool(
    _ name: String, _ description: String, _ properties: JSONValue, required: JSONValue, definitions: JSONValue = [:]
) -> Tool {
    Tool(
        name: name, description: description,
        inputSchema: [
            "type": "object", "properties": properties, "required": required, "additionalProperties": false, "$defs": definitions,
        ])
}

func tool(_ name: String) -> Tool { someTools.first { $0.name == name }! }

func request(_ messages: [ChatMessage] = [.user("Build it.")], maxTokens: Int = 1000) -> MessagesRequest {
    MessagesRequest(model: "m", maxTokens: maxTokens, system: "You are a developer.", tools: someTools, messages: messages)
}

extension Desk {
    /// Asks as the transport does.
    func ask(_ turn: Turn, _ request: MessagesRequest = request()) throws {
        try Files.createDirectories(directory)
        try Files.replace(FileTransport.request(turn, in: directory), try CompactJSON.encode(request))
    }

    /// Ends a turn as the transport does.
    func settle(_ turn: Turn) throws {
        let response = MessagesResponse(
            id: "m", model: "m", content: [], stopReason: "end_turn", usage: .init(inputTokens: 1, outputTokens: 1))
        try FileTransport(directory: directory, report: { _ in }).settle(turn, response)
    }

    func answer(_ turn: Turn) throws -> MessagesResponse {
        let path = FileTransport.response(turn, in: directory)
        return try CompactJSON.decode(MessagesResponse.self, from: try Files.read(path), at: path.string)
    }
}

/// Runs the real program.
struct Program {
    let desk: Desk

    struct Outcome: Equatable {
        var status: Int32
        var output = ""
        var errors = ""
    }

    /// Where the tests' own program lies, that one lies too.
    private static let programs: FilePath = {
        var link = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &link, link.count)
        return FilePath(String(decoding: link[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self))
            .removingLastComponent()
    }()

    func callAsFunction(_ arguments: String..., input: String = "") async throws -> Outcome {
        var environment = Command.plainEnvironment
        environment["AUTON_DESK"] = desk.directory.string
        environment["PATH"] = "\(Self.programs):\(environment["PATH"] ?? "")"
        var command = Command("auton-answer", arguments, environment: environment)
        command.input = Array(input.utf8)
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "\(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }
}
