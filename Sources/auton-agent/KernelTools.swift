import AutonAgents
import AutonGate
import AutonKit
import AutonMessages
import AutonModel

/// The tools that run what is in a work tree: `build`, `test`, `shell`. All of it in one sandbox, but for the boots, which have
/// one each, so that nothing that a command left is near them.
func runningTools(_ sandbox: SandboxSession, _ limits: RunLimits) -> [any AgentTool] {
    [
        BuildTool(sandbox: sandbox, limits: limits), TestTool(sandbox: sandbox, limits: limits),
        ShellTool(sandbox: sandbox, limits: limits),
    ]
}

/// A command's result as the model reads it: how it ended, and the two streams apart.
func describe(_ result: CommandResult, limit: Double) -> String {
    let ending = result.ending == .timedOut ? "killed at the limit of \(Int(limit)) s; what it had printed:" : "\(result.ending)"
    func stream(_ name: String, _ output: CapturedOutput) -> [String] {
        output.total == 0 ? [] : ["── \(name)", output.text]
    }
    return ([ending] + stream("stdout", result.output) + stream("stderr", result.errors)).joined(separator: "\n")
}

struct BuildTool: AgentTool {
    let sandbox: SandboxSession
    let limits: RunLimits

    let definition = Tool("build", "Build the kernel with make. Warnings are errors.", [:])

    func call(_ input: JSONValue) async throws -> ToolOutput {
        let build = try await Build.run(in: sandbox, limits: limits)
        return ToolOutput(text: describe(build.result, limit: build.limit), isError: !build.succeeded)
    }
}

struct TestTool: AgentTool {
    let sandbox: SandboxSession
    let limits: RunLimits
    private static let consoleLines = 40

    let definition = Tool(
        "test",
        "Build, boot under QEMU and run the tests. Prints how many passed, those that did not with their diagnostics, and the console's last lines.",
        [
            "suites": [
                "type": "array", "items": ["type": "string"],
                "description":
                    "Run these only, and name each: a suite (boot), a test (boot.gdt_tss), or all that begin alike (boot.gdt_*).",
            ]
        ],
        optional: ["suites"])

    func call(_ input: JSONValue) async throws -> ToolOutput {
        let build = try await Build.run(in: sandbox, limits: limits)
        guard build.succeeded else {
            return .error("the build failed, nothing was booted\n" + describe(build.result, limit: build.limit))
        }
        let suites = (input["suites"]?.array ?? []).compactMap(\.string)
        let boot = try await Boot(image: build.image, suites: suites, seconds: limits.bootSeconds).run()
        var lines = [boot.failure.map { "FAILED: \($0)" } ?? "all passed"] + boot.diagnosis
        for (suite, tests) in Dictionary(grouping: boot.report.tests, by: \.suite).sorted(by: { $0.key < $1.key }) {
            lines.append("\(suite): \(tests.count { $0.outcome == .ok }) of \(tests.count) ok")
        }
        for test in boot.report.tests where test.outcome != .ok || !suites.isEmpty {
            lines.append("\(test.outcome.rawValue) \(test.name)")
            if test.outcome != .ok { lines += test.diagnostics.map { "    \($0)" } }
        }
        lines += ["── console, last lines"] + boot.consoleLines.suffix(Self.consoleLines)
        return ToolOutput(text: lines.joined(separator: "\n"), isError: boot.failure != nil)
    }
}

struct ShellTool: AgentTool {
    let sandbox: SandboxSession
    let limits: RunLimits

    var definition: Tool {
        let usual = Int(limits.sandbox.seconds)
        return Tool(
            "shell",
            "Run a script with sh in the work tree, in the sandbox: no network, nothing but the work tree and /tmp writable, all of it gone at the end but the work tree.",
            [
                "command": ["type": "string", "minLength": 1],
                "seconds": [
                    "type": "integer", "minimum": 1, "maximum": .integer(limits.shellMaxSeconds),
                    "description": .string(
                        "Wall time limit; \(usual) if left out. At the limit you get what was printed so far."),
                ],
            ], optional: ["seconds"])
    }

    func call(_ input: JSONValue) async throws -> ToolOutput {
        var bounds = limits.sandbox
        if let seconds = input["seconds"]?.integer { bounds.seconds = Double(seconds) }
        let result = try await sandbox.run("sh", ["-c", input["command"]?.string ?? ""], limits: bounds)
        return ToolOutput(text: describe(result, limit: bounds.seconds), isError: !result.succeeded)
    }
}
