import AutonKit
import Glibc
import SystemPackage

/// The known-good kernel that mutants are made from: the user's harness, Makefile and linker script with a small kernel of the
/// corpus on them, in a repository of its own that goes when it is no longer needed.
struct Specimen {
    private let scratch: ScratchDirectory
    private var directory: FilePath { scratch.path }
    let workspace: Workspace
    /// A directory that nothing in the sandbox must reach; it holds a file `secret`.
    let outside: FilePath
    /// What it was built to; most of a mutant's build is the same.
    let build: FilePath

    /// - Parameter kernel: the kernel tree that has the protected side.
    init(corpus: FilePath, kernel: FilePath) async throws {
        scratch = try ScratchDirectory(Files.scratch.appending("auton-self-check"))
        let directory = scratch.path
        outside = directory.appending("outside")
        do {
            let source = directory.appending("source")
            try Files.createDirectories(source)
            for name in ["harness", "Makefile", "kernel.ld"] {
                try Files.copyTree(kernel.appending(name), to: source.appending(name))
            }
            try Files.copyTree(corpus.appending("specimen"), to: source)
            workspace = try await Workspace.open(directory.appending("workspace"), from: source, origin: .kernel)
            try Files.createDirectories(outside)
            try Files.write(outside.appending("secret"), Array("secret\n".utf8), sync: false)
            build = directory.appending("build")
            try await Self.build(workspace, to: build)
            guard chmod(outside.string, 0o777) == 0 else { throw Errno(rawValue: errno) }
        } catch {
            scratch.remove()
            throw error
        }
    }

    private static func build(_ workspace: Workspace, to place: FilePath) async throws {
        let worktree = try await workspace.worktree("specimen", commit: try await workspace.main())
        defer { try? worktree.remove() }
        let build = try await Build.run(in: worktree.root)
        guard build.succeeded else {
            throw AutonError(.badConfiguration, "the self-check's good kernel does not build: \(build.diagnostics.first ?? "")")
        }
        try Files.copyTree(worktree.root.appending("build"), to: place)
    }

    func remove() { scratch.remove() }

    /// Whether something got out of the sandbox.
    var isBreached: Bool { Files.exists(outside.appending("escaped")) }

    /// The commits that the gate is to compare.
    func commits(of mutant: Mutant) async throws -> (base: String, commit: String) {
        let main = try await workspace.main()
        guard let recipe = mutant.recipe else { return (main, try await apply(mutant.patch, to: main, for: mutant)) }
        let base = try await append(recipe.replacing("@OUTSIDE@", with: outside.string), to: main, for: mutant)
        let harmless =
            "diff --git a/lib/more.c b/lib/more.c\nnew file mode 100644\n--- /dev/null\n+++ b/lib/more.c\n@@ -0,0 +1 @@\n+/* */\n"
        return (base, try await apply(harmless, to: base, for: mutant))
    }

    /// A commit whose Makefile does more, whatever else it does.
    private func append(_ recipe: String, to base: String, for mutant: Mutant) async throws -> String {
        let file = directory.appending("\(mutant.name).mk")
        let makefile = try await workspace.git.run("cat-file", "blob", "\(base):Makefile")
        let rule = "\n\nall: mutant\n.PHONY: mutant\nmutant: build/kernel.elf\n\t\(recipe)\n"
        try Files.write(file, Array((makefile + rule).utf8), sync: false)
        let git = git(for: mutant)
        try await git.run("read-tree", base)
        let blob = try await git.run("hash-object", "-w", "--no-filters", file.string)
        try await git.run("update-index", "--cacheinfo", "100644,\(blob),Makefile")
        return try await git.run("commit-tree", "-p", base, "-m", mutant.summary, try await git.run("write-tree"))
    }

    /// With an index of the mutant's own, so that several may be made at once.
    private func git(for mutant: Mutant) -> Git {
        Git(directory: workspace.git.directory, workTree: directory, index: directory.appending("\(mutant.name).index"))
    }

    /// A commit with the patch applied to that of `base`.
    private func apply(_ patch: String, to base: String, for mutant: Mutant) async throws -> String {
        let git = git(for: mutant)
        try await git.run("read-tree", base)
        if !patch.isEmpty {
            let result = try await git.result(["apply", "--cached", "--whitespace=nowarn", "-"], input: patch)
            guard result.succeeded else {
                throw AutonError(
                    .badConfiguration, "the self-check's mutant does not apply: \(Text.lines(result.errors.text).first ?? "")",
                    at: mutant.name)
            }
        }
        return try await git.run("commit-tree", "-p", base, "-m", mutant.summary, try await git.run("write-tree"))
    }
}
