import AutonKit
import AutonMessages
import FoundationEssentials
import SystemPackage
import Testing

@testable import AutonGate

/// What honest agents wrote keeps every rule: false alarms would stop the whole loop.
@Suite struct RecordedChangesTests {
    private struct Line: Decodable {
        struct Response: Decodable { var content: [Block] }
        struct Block: Decodable {
            var type: String
            var name: String?
            var input: Input?
        }
        struct Input: Decodable {
            var path: String?
            var content: String?
            var old: String?
            var new: String?
        }
        var type: String
        var response: Response?
    }

    private static let recording = Scaffold.package.appending("runs/01-minimal-boot")
    private static let attempts = (try? Files.list(recording.appending("candidate")).map { String($0.dropLast(5)) }) ?? []

    /// The shipped kernel as one change against the scaffold.
    @Test func theShippedKernel() async throws {
        let ws = try await TestWorkspace(adding: [:])
        var edits: [String: TestWorkspace.Edit] = [:]
        for (path, text) in try Self.sources(Scaffold.kernel) where !Workspace.isProtected(path) && !path.hasPrefix("build/") {
            edits[path] = .write(text)
        }
        #expect(edits.count > 20)
        let judgement = try await Gate.judgeDiff(
            commit: ws.commit(edits), base: ws.workspace.main(), paths: nil, in: ws.git)
        #expect(judgement.checks.filter { $0.status == .failed } == [])
        #expect(judgement.accepted)
        let functions = judgement.change?.files.first { $0.path == "boot/main.c" }?.functions
        // Whatever the next run adds to it.
        #expect(Set(["boot_info", "kernel_main"]).isSubset(of: functions ?? []), "\(functions ?? [])")
    }

    /// Every attempt of the recorded run, the files as the agent wrote and edited them.
    @Test(arguments: attempts) func aRecordedAttempt(name: String) throws {
        let mailbox = Mailbox(Self.recording)
        let task = try mailbox.get(TaskMessage.self, name)
        var texts: [String: String] = [:]
        // A further attempt starts from what the one before left.
        for attempt in 1...task.attempt {
            for line in try Files.readText(mailbox.transcript("\(task.task).\(attempt)")).split(separator: "\n") {
                let line = try JSONDecoder().decode(Line.self, from: Data(line.utf8))
                for block in line.response?.content ?? [] {
                    guard let input = block.input, let path = input.path, block.type == "tool_use" else { continue }
                    if block.name == "write", let content = input.content { texts[path] = content }
                    if block.name == "edit", let old = input.old, let new = input.new, let text = texts[path],
                        let place = text.firstRange(of: old)
                    {
                        texts[path] = text.replacingCharacters(in: place, with: new)
                    }
                }
            }
        }
        #expect(!texts.isEmpty)
        let change = Change(
            files: texts.sorted { $0.key < $1.key }.filter { task.paths.contains($0.key) }.map { .made($0.key, to: $0.value) })
        #expect(!change.files.isEmpty)
        for rule in DiffRules.all(paths: task.paths) { #expect(rule.violations(in: change) == []) }
    }

    private static func sources(_ directory: FilePath, _ prefix: String = "") throws -> [String: String] {
        try Files.list(directory).reduce(into: [:]) { found, name in
            let path = directory.appending(name)
            if Files.isDirectory(path) {
                found.merge(try sources(path, prefix + name + "/")) { first, _ in first }
            } else {
                found[prefix + name] = String(decoding: try Files.read(path), as: UTF8.self)
            }
        }
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<Index>, with new: String) -> String {
        String(self[..<range.lowerBound]) + new + String(self[range.upperBound...])
    }
}
