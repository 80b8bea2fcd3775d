import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import auton_compose

/// Compositions of real kernels: the harness with little on it.
protocol SmallKernels {
    var directory: TemporaryDirectory { get }
}

extension SmallKernels {
    /// A table of two places in the base, and parts that each take some.
    static var table: String {
        """
        #pragma once
        extern int table_used;
        static inline int table_take(int n) { return table_used + n > 2 ? -1 : (table_used += n); }

        """
    }
    static func taker(_ name: String, _ n: Int) -> String {
        """
        #include "harness.h"
        #include "table.h"
        KTEST(\(name), takes) { KASSERT(table_take(\(n)) >= 0); }

        """
    }
    static func innocent(_ name: String) -> String {
        "#include \"harness.h\"\nKTEST(\(name), adds) { KASSERT_EQ(1 + 1, 2); }\n"
    }

    func workspace() async throws -> Workspace {
        let source = directory["source"]
        try Files.createDirectories(source)
        for name in ["harness", "Makefile", "kernel.ld"] {
            try Files.copyTree(Program.package.appending("kernel").appending(name), to: source.appending(name))
        }
        try directory.write("source/include/table.h", Self.table)
        try directory.write("source/mm/table.c", "#include \"table.h\"\nint table_used;\n")
        return try await Workspace.open(directory["workspace"], from: source, origin: .kernel)
    }

    func branch(_ name: String, _ files: [String: String], on base: String, in workspace: Workspace) async throws {
        let commit = try await workspace.commit(files.mapValues { $0 }, on: base)
        #expect(try await workspace.git.moveBranch(name, to: commit, from: ""))
    }

    func compose(_ arguments: String...) async throws -> Outcome { try await compose(arguments) }

    func compose(_ arguments: [String]) async throws -> Outcome {
        try await Program.run(
            "auton-compose", arguments + ["--workspace", directory["workspace"].string, "--mailbox", directory["mailbox"].string])
    }

    /// Main as merges made it, and the mailbox that tells of them.
    func merge(_ files: [(String, [String: String])], on base: String? = nil, in workspace: Workspace) async throws -> Mailbox {
        let mailbox = Mailbox(directory["mailbox"])
        try mailbox.prepare()
        let main = try await workspace.main(), base = base ?? main
        for (task, files) in files {
            let commit = try await workspace.commit(files.mapValues { $0 }, on: base)
            let main = try await workspace.main()
            let merged = try await workspace.mergeTree(main, commit)
            let merge = try await workspace.git.run("commit-tree", merged.tree, "-p", main, "-p", commit, "-m", "merge")
            try await workspace.moveMain(to: merge)
            try mailbox.file(TaskMessage(plannedTask(task)))
            try mailbox.file(
                Candidate(
                    task: task, attempt: 1, branch: "task/\(task).1", commit: commit,
                    tree: try await workspace.git.tree(of: commit), base: base, baseTree: try await workspace.git.tree(of: base),
                    outcome: .finished, summary: "",
                    provenance: Provenance(model: "none", transcript: "", turns: 0, usage: TokenUsage())))
            try mailbox.file(
                Merge(
                    task: task, attempt: 1, candidate: commit, commit: merge, tree: merged.tree,
                    baseTree: try await workspace.git.tree(of: main), tests: []))
        }
        return mailbox
    }
}
