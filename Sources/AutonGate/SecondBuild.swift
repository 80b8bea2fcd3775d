import AutonKit
import FoundationEssentials
import SystemPackage

/// The same commit built once more, at another time and in another directory: what depends on either shows in the image.
struct SecondBuild: Sendable {
    private static let directory = "elsewhere"

    let workspace: Workspace
    let limits: RunLimits

    /// The image's digest, or why there is none. Begun when the first build is over, it waits until a clock that counts seconds has moved on.
    ///
    /// - Parameters:
    ///   - seed: what make may go on from, put into the checkout.
    ///   - purpose: names the checkout.
    func run(_ commit: String, purpose: String, seed: @Sendable (FilePath) throws -> Void) async throws -> Result<String, Failure>
    {
        let now = ContinuousClock.now, time = Date.now.timeIntervalSince1970
        try await Task.sleep(until: now + .seconds(time.rounded(.down) + 1.01 - time))
        let place = workspace.place(of: purpose)
        guard let lock = try workspace.lock(purpose) else {
            throw AutonError(.tryAgain, "another gate is at work on it", at: purpose)
        }
        defer { withExtendedLifetime(lock) {} }
        try Files.removeTree(place)
        defer { try? Files.removeTree(place) }
        try Files.createDirectories(place)
        let worktree = try await Worktree.create(
            at: place.appending(Self.directory), commit: commit, repository: workspace.git.directory)
        try seed(worktree.root)
        let build = try await Sandbox(place).enter {
            try await Build.run(in: $0, subdirectory: Self.directory, limits: limits)
        }
        return build.succeeded ? .success(try await Tools.digest(of: build.image)) : .failure(Failure(line: build.failure))
    }

    struct Failure: Error { var line: String }
}
