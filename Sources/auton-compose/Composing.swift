import AutonGate
import AutonKit
import AutonMessages
import Glibc

/// Composes what there is: main, as its merges made it, or branches by hand.
struct Composing {
    let workspace: Workspace
    let limits: RunLimits
    let demand: Composer.Demand

    /// The composition of a commit, of the tasks that were merged into main if it is main's; one that is filed already is not
    /// made again.
    func compose(_ commit: String, filedIn mailbox: Mailbox) async throws -> Composition {
        let tree = try await workspace.git.tree(of: commit)
        if let done = try mailbox.find(Composition.self, tree) { return done }
        let merged = try await workspace.main() == commit ? try await workspace.parts(mergedIn: mailbox) : nil
        let assembly = Assembly(workspace: workspace, base: merged?.base ?? commit, parts: merged?.parts ?? [])
        let composition = try await compose(assembly, whole: commit)
        try mailbox.file(composition)
        return composition
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
