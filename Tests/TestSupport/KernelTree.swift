import AutonKit
import SystemPackage

/// A kernel tree in little, to start workspaces from.
package enum KernelTree {
    package static let protected = [
        "spec/README.md": "The spec.\n", "spec/boot.md": "Boot prints.\n", "acceptance/boot.c": "/* test */\n",
        "harness/harness.h": "#pragma once\n", "Makefile": "all:\n", "kernel.ld": "SECTIONS {}\n", "README.md": "A kernel.\n",
    ]
    package static let written = [
        "boot/entry.asm": "hlt\n", "boot/Makefile": "# not the user's\n", "include/spec/x.h": "int x;\n",
        "tests/boot/t.c": "/**/\n",
    ]

    package static func make(at directory: TemporaryDirectory, _ name: String = "kernel") throws -> FilePath {
        for (path, text) in protected.merging(written, uniquingKeysWith: { first, _ in first }) {
            try directory.write("\(name)/\(path)", text)
        }
        try directory.write("\(name)/build/kernel.elf", "built")
        return directory[name]
    }

    /// A workspace that starts from it.
    package static func workspace(in directory: TemporaryDirectory, origin: Workspace.Origin = .kernel) async throws -> Workspace
    {
        try await Workspace.open(directory["workspace"], from: make(at: directory), origin: origin)
    }
}

extension Workspace {
    /// A commit on top of `parent` with some files changed; removed where the text is nil.
    package func commit(_ files: [String: String?], on parent: String) async throws -> String {
        let tree = try await worktree("test-\(files.hashValue)", commit: parent)
        defer { try? tree.remove() }
        for (name, text) in files {
            let path = tree.root.appending(name)
            try Files.createDirectories(path.removingLastComponent())
            if let text { try Files.write(path, Array(text.utf8), sync: false) } else { try Files.removeTree(path) }
        }
        return try await git.run("commit-tree", tree.writeTree(), "-p", parent, input: "change")
    }

    /// Moves main as the Integrator does, the checkout left behind.
    package func moveMain(to commit: String) async throws {
        guard try await git.moveBranch("main", to: commit, from: main()) else { throw AutonError(.bug, "main moved") }
    }
}
