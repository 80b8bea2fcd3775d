import AutonAgents
import AutonKit
import AutonModel
import SystemPackage
import TestSupport
import Testing

/// What the tools print is part of conversations and their replays: compare it whole.
@Suite struct FileToolsTests {
    private let directory: TemporaryDirectory
    private let tools: [any AgentTool]

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write("tree/boot/entry.asm", "cli\nhlt\njmp $\n")
        try directory.write("tree/boot/main.c", "int x;\nint main(void) { return x; }")
        try directory.write("tree/spec/boot.md", "Boot prints.\n")
        let confined = ConfinedDirectory(directory["tree"], writable: ["boot/"])
        tools = readingTools(confined) + writingTools(confined)
        try Worktree.handOver(directory["tree"])
    }

    private func call(_ name: String, _ input: JSONValue) async throws -> ToolOutput {
        let tool = tools.first { $0.definition.name == name }!
        #expect(JSONSchema(tool.definition.inputSchema).problems(in: input) == [])
        return try await tool.call(input)
    }

    @Test func theirNames() {
        #expect(tools.map(\.definition.name) == ["list", "search", "read", "write", "edit"])
    }

    @Test func list() async throws {
        #expect(try await call("list", [:]) == .ok("boot/entry.asm  14\nboot/main.c  35\nspec/boot.md  13"))
        #expect(try await call("list", ["path": "spec"]) == .ok("spec/boot.md  13"))
        try Files.createDirectories(directory["tree/mm"])
        #expect(try await call("list", ["path": "mm"]) == .ok("no files"))
        #expect(try await call("list", ["path": "../outside"]) == .error("../outside: a path must not contain .."))
        for number in 1...600 { try directory.write("tree/mm/\(1000 + number)", "") }
        let lines = try await call("list", ["path": "mm"]).text.split(separator: "\n")
        #expect(lines.count == 501 && lines.last == "[… 100 more files …]")
    }

    @Test func read() async throws {
        #expect(try await call("read", ["path": "boot/entry.asm"]) == .ok("1\tcli\n2\thlt\n3\tjmp $"))
        #expect(try await call("read", ["path": "boot/entry.asm", "from": 3]) == .ok("3\tjmp $"))
        #expect(try await call("read", ["path": "boot/entry.asm", "from": 4]) == .error("boot/entry.asm: has 3 lines"))
        #expect(try await call("read", ["path": "boot/main.c", "from": 2]) == .ok("2\tint main(void) { return x; }"))
        #expect(try await call("read", ["path": "nothing"]) == .error("nothing: no such file"))
        try directory.write("tree/empty", "")
        #expect(try await call("read", ["path": "empty"]) == .ok("the file is empty"))
        try directory.write("tree/dos", "one\r\ntwo\r\n")
        #expect(try await call("read", ["path": "dos"]) == .ok("1\tone\n2\ttwo"))
    }

    @Test func aLongFileIsReadInParts() async throws {
        try directory.write("tree/long", (1...1000).map { "line \($0)\n" }.joined())
        let first = try await call("read", ["path": "long"]).text.split(separator: "\n")
        #expect(first.count == 601 && first.first == "1\tline 1" && first.last == "[… 400 more lines, read from 601 …]")
        let second = try await call("read", ["path": "long", "from": 601]).text.split(separator: "\n")
        #expect(second.count == 400 && second.first == "601\tline 601" && second.last == "1000\tline 1000")
    }

    @Test func search() async throws {
        #expect(
            try await call("search", ["pattern": "int [a-z]"])
                == .ok("boot/main.c:1:int x;\nboot/main.c:2:int main(void) { return x; }"))
        #expect(try await call("search", ["pattern": "^cli|prints"]) == .ok("boot/entry.asm:1:cli\nspec/boot.md:1:Boot prints."))
        #expect(try await call("search", ["pattern": "cli", "path": "boot/entry.asm"]) == .ok("boot/entry.asm:1:cli"))
        #expect(try await call("search", ["pattern": "cli", "path": "spec"]) == .ok("no match"))
        #expect(try await call("search", ["pattern": "--version"]) == .ok("no match"))
        #expect(try await call("search", ["pattern": "$(touch /kernel/x)'; touch x"]) == .ok("no match"))
        #expect(
            try await call("search", ["pattern": "x", "path": "/etc"]) == .error("/etc: paths are relative to the work tree"))
        #expect(try await call("search", ["pattern": "x", "path": "nothing"]).isError)
        #expect(try await call("search", ["pattern": "("]).isError)
        #expect(try directory.contents(of: "tree").count == 3)
    }

    @Test func searchStopsAtAHundredLines() async throws {
        try directory.write("tree/long", String(repeating: "same\n", count: 250))
        let lines = try await call("search", ["pattern": "same"]).text.split(separator: "\n")
        #expect(lines.count == 101 && lines[99] == "long:100:same" && lines.last == "[… 150 more lines …]")
    }

    @Test func write() async throws {
        #expect(try await call("write", ["path": "boot/new.asm", "content": "é\n"]) == .ok("wrote 3 bytes to boot/new.asm"))
        #expect(try directory.read("tree/boot/new.asm") == "é\n")
        #expect(
            try await call("write", ["path": "spec/boot.md", "content": ""])
                == .error("spec/boot.md: outside your task's paths (boot/)"))
        #expect(try directory.read("tree/spec/boot.md") == "Boot prints.\n")
        #expect(try await call("write", ["path": "boot/new.asm/below", "content": ""]).isError)
    }

    @Test func edit() async throws {
        #expect(
            try await call("edit", ["path": "boot/entry.asm", "old": "hlt\njmp", "new": "again:\n hlt\n jmp"])
                == .ok("replaced 1 passage in boot/entry.asm"))
        #expect(try directory.read("tree/boot/entry.asm") == "cli\nagain:\n hlt\n jmp $\n")
        #expect(
            try await call("edit", ["path": "boot/main.c", "old": "x", "new": "y"]) == .error("boot/main.c: `old` occurs 2 times")
        )
        #expect(
            try await call("edit", ["path": "boot/main.c", "old": "z", "new": "y"]) == .error("boot/main.c: `old` does not occur")
        )
        #expect(
            try await call("edit", ["path": "boot/main.c", "old": " return x;", "new": ""])
                == .ok("replaced 1 passage in boot/main.c"))
        #expect(try directory.read("tree/boot/main.c") == "int x;\nint main(void) { }")
        #expect(
            try await call("edit", ["path": "spec/boot.md", "old": "Boot", "new": ""])
                == .error("spec/boot.md: outside your task's paths (boot/)"))
        #expect(try await call("edit", ["path": "nothing", "old": "x", "new": ""]) == .error("nothing: no such file"))
    }

    /// A passage that occurs twice, overlapping itself, has no one place to be replaced at.
    @Test func overlappingPassagesAreTwo() async throws {
        try directory.write("tree/boot/a", "aaa\n")
        #expect(try await call("edit", ["path": "boot/a", "old": "aa", "new": "b"]).isError)
        #expect(try directory.read("tree/boot/a") == "aaa\n")
    }
}
