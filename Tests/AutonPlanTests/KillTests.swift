import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

/// `kill -9` at any system call that changes what is on disk, run again: the same result.
@Suite(.enabled("needs strace(1)") { await Strace.works })
struct KillTests {
    /// Kills whichever thread or child first comes to its Nth call, for every N there is.
    ///
    /// - Returns: how many runs were killed.
    private func kill(at call: String, from start: () throws -> Scene, expecting whole: [String: String], tree: String)
        async throws -> Int
    {
        for number in 1...40 {
            let scene = try start()
            let plan = try scene.write(threeTasks)
            let killed = try await Program.run(
                "strace",
                [
                    "-f", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):signal=SIGKILL:when=\(number)",
                    "auton-plan", "--from", plan,
                ],
                environment: scene.environment)
            let again = try await scene.plan("--from", plan)
            #expect(again == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"), "after \(call) \(number)")
            #expect(try scene.filed() == whole, "after \(call) \(number)")
            let workspace = try Workspace(scene.directory["workspace"])
            #expect(try await workspace.git.tree(of: workspace.main()) == tree, "after \(call) \(number)")
            #expect(!Files.exists(scene.directory["workspace.new"]))
            if killed.status == 0 { return number - 1 }
        }
        return 40
    }

    private func undisturbed() async throws -> (scene: Scene, filed: [String: String], tree: String) {
        let scene = try Scene()
        #expect(try await scene.plan("--from", scene.write(threeTasks)).status == 0)
        let workspace = try Workspace(scene.directory["workspace"])
        return (scene, try scene.filed(), try await workspace.git.tree(of: workspace.main()))
    }

    @Test(arguments: [("renameat2", 4), ("rename", 1), ("fsync", 3), ("syncfs", 1)])
    func whileFiling(call: String, least: Int) async throws {
        let (made, filed, tree) = try await undisturbed()
        let kills = try await kill(
            at: call,
            from: {
                // Its workspace is there already, so that git has no part in it.
                let scene = try Scene()
                try copy(made, to: scene)
                return scene
            }, expecting: filed, tree: tree)
        #expect(kills >= least)
    }

    private func copy(_ made: Scene, to scene: Scene) throws {
        for (name, _) in try made.directory.contents(of: "workspace") {
            let target = scene.directory["workspace/\(name)"]
            try Files.createDirectories(target.removingLastComponent())
            try Files.write(target, Files.read(made.directory["workspace/\(name)"]), sync: false)
        }
        for name in ["refs/heads", "refs/tags", "objects"] {
            try Files.createDirectories(scene.directory["workspace/.git/\(name)"])
        }
    }

    /// Git's own renames among them: those of the index, of HEAD, of main.
    @Test(arguments: [("rename", 5), ("renameat2", 4)])
    func whileTheWorkspaceIsMade(call: String, least: Int) async throws {
        let (_, filed, tree) = try await undisturbed()
        #expect(try await kill(at: call, from: { try Scene() }, expecting: filed, tree: tree) >= least)
    }
}
