import AutonKit
import Glibc
import SystemPackage

/// A repository that is not ours, read and never written: bare or not, a linked work tree, a shallow clone, of any hash.
/// Its configuration, attributes and hooks are taken for hostile, as `Git` does.
struct AnyRepository {
    let git: Git
    private let place: FilePath

    /// Finds the repository that `directory` is, or lies in.
    ///
    /// Not by git, which would refuse one of another owner, and asks the environment.
    init(at directory: FilePath) async throws {
        place = Files.absolute(directory)
        guard Files.isDirectory(place) else { throw AutonError(.badInput, "no such directory", at: place.string) }
        guard let found = try Self.find(from: place) else {
            throw AutonError(.badInput, "not a git repository", at: place.string)
        }
        var git = Git(directory: found)
        git.isAlone = true
        self.git = git
        let opened = try await git.result(["rev-parse", "--git-dir"])
        guard opened.succeeded else {
            let why = opened.errors.text.split(separator: "\n").first.map(String.init) ?? "git cannot open it"
            throw AutonError(.badInput, "not a git repository (\(why))", at: place.string)
        }
    }

    private static func find(from directory: FilePath) throws -> FilePath? {
        var place = directory
        while true {
            let inside = place.appending(".git")
            if isRepository(inside) { return inside }
            if Files.type(of: inside) == S_IFREG, let linked = try link(inside, in: place), isRepository(linked) { return linked }
            if isRepository(place) { return place }
            guard place.removeLastComponent() else { return nil }
        }
    }

    private static func isRepository(_ place: FilePath) -> Bool {
        Files.exists(place.appending("HEAD"))
            && (Files.isDirectory(place.appending("objects")) || Files.exists(place.appending("commondir")))
    }

    /// A linked work tree's `.git` is a file that names the directory.
    private static func link(_ file: FilePath, in directory: FilePath) throws -> FilePath? {
        let text = try Files.readText(file)
        guard text.hasPrefix("gitdir: ") else { return nil }
        let target = FilePath(String(text.dropFirst(8).prefix { !$0.isNewline }))
        return (target.isAbsolute ? target : directory.pushing(target)).lexicallyNormalized()
    }

    /// The two commits to compare. Base: what is given, or the commit's first parent.
    func commits(_ name: String, base: String?) async throws -> (commit: String, base: String) {
        let commit = try await commit(name)
        let start: String
        if let base {
            start = try await self.commit(base)
        } else if let parent = try await git.commit(commit + "^") {
            start = parent
        } else if try await isShallow() {
            throw AutonError(
                .badInput, "its parent is not in this shallow clone; give a base, or fetch more of its history", at: name)
        } else {
            throw AutonError(.badInput, "it has no parent to compare it with; give a base", at: name)
        }
        guard commit != start else {
            throw AutonError(.badInput, "there is nothing to compare, both are the commit \(commit)", at: name)
        }
        return (commit, start)
    }

    func isDirectory(_ path: String, in commits: [String]) async throws -> Bool {
        for commit in commits where try await git.result(["cat-file", "-t", "\(commit):\(path)"]).line == "tree" { return true }
        return false
    }

    private func commit(_ name: String) async throws -> String {
        if let commit = try await git.commit(name) { return commit }
        let clone = try await isShallow() ? ", which is a shallow clone; fetch more of its history" : ""
        throw AutonError(.badInput, "no such commit in \(place)\(clone)", at: name)
    }

    private func isShallow() async throws -> Bool {
        try await git.result(["rev-parse", "--is-shallow-repository"]).line == "true"
    }
}
