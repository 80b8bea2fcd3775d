import AutonGate
import AutonKit
import AutonMessages
import Glibc

/// Composes what there is: main, as its merges made it, or branches by hand.
struct Composing {
    let workspace: Workspace
    let limits: RunLimits
    let demand: Composer.Demand

    /// The composition of main, of the tasks that were merged into it. One that is filed already is not made again, unless
    /// something else is asked for: there is one message for each tree.
    func composeMain(filedIn mailbox: Mailbox) async throws -> Composition {
        let commit = try await workspace.main(), tree = try await workspace.git.tree(of: commit)
        let filed = try mailbox.find(Composition.self, tree)
        if let filed, filed.demand == demand.asked { return filed }
        let merged = try await workspace.parts(of: commit, mergedIn: mailbox)
        let assembly = Assembly(workspace: workspace, base: merged?.base ?? commit, parts: merged?.parts ?? [])
        let composition = try await compose(assembly, whole: commit)
        if filed == nil { try mailbox.file(composition) }
        return composition
    }

    /// The composition of one commit, of which it is not known what it is made of.
    func compose(_ commit: String) async throws -> Composition {
        try await compose(Assembly(workspace: workspace, base: commit, parts: []), whole: commit)
    }

    /// The composition of branches, which need no mailbox.
    func compose(branches: [String]) async throws -> Composition {
        let (base, parts) = try await workspace.parts(ofBranches: branches)
        let assembly = Assembly(workspace: workspace, base: base, parts: parts)
        guard let whole = try await assembly.commit(of: parts) else {
            throw AutonError(.refused, "the branches are in conflict", at: branches.joined(separator: ", "))
        }
        return try await compose(assembly, whole: whole)
    }

    private func compose(_ assembly: Assembly, whole: String) async throws -> Composition {
        let tree = try await workspace.git.tree(of: whole)
        let purpose = "compose-\(tree.prefix(12))"
        guard let lock = try workspace.lock(purpose) else {
            throw AutonError(.tryAgain, "another auton-compose is at work", at: purpose)
        }
        defer { lock.release() }
        let laboratory = try await Laboratory(
            workspace: workspace, base: assembly.base, whole: tree, purpose: purpose, limits: limits,
            processors: sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        do {
            let composition = try await Composer(assembly: assembly, whole: whole, laboratory: laboratory, demand: demand)
                .compose()
            await laboratory.forgetOthers()
            await laboratory.close()
            return composition
        } catch {
            await laboratory.close()
            throw error
        }
    }
}
