import SystemPackage

/// Git, run so that nothing in a work tree can make it execute anything: no hooks, no file system monitor, no
/// system or user configuration, explicit directories, and no `.git` inside a work tree to be replaced.
package struct Git: Sendable {
    package let directory: FilePath
    package var workTree: FilePath?
    package var index: FilePath?
    /// Whether git is kept from running any program, itself included, as it does to fetch what a partial clone lacks.
    package var isAlone = false

    /// - Parameter directory: the repository itself (the `.git` directory).
    package init(directory: FilePath, workTree: FilePath? = nil, index: FilePath? = nil) {
        self.directory = directory
        self.workTree = workTree
        self.index = index
    }

    private static let settings = [
        "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.symlinks=false", "core.protectNTFS=false",
        "core.fsync=all", "core.autocrlf=false", "core.attributesFile=/dev/null", "core.quotePath=false", "protocol.allow=never",
        "gc.auto=0", "maintenance.auto=false", "user.name=AUTON", "user.email=auton@localhost", "advice.detachedHead=false",
    ].flatMap { ["-c", $0] }

    /// The child's result whatever its status, for commands whose status is an answer.
    package func result(_ arguments: [String], input: String = "") async throws -> CommandResult {
        var environment = Command.plainEnvironment
        environment["GIT_CONFIG_NOSYSTEM"] = "1"
        environment["GIT_CONFIG_GLOBAL"] = "/dev/null"
        environment["GIT_TERMINAL_PROMPT"] = "0"
        // Over what the repository's own configuration allows: a missing object must not be fetched by a command of its.
        environment["GIT_ALLOW_PROTOCOL"] = "none"
        // A commit is what its id says.
        environment["GIT_NO_REPLACE_OBJECTS"] = "1"
        environment["GIT_DIR"] = directory.string
        environment["GIT_WORK_TREE"] = workTree?.string
        environment["GIT_INDEX_FILE"] = index?.string
        let program = isAlone ? Tools.find("git")?.string ?? "git" : "git"
        if isAlone {
            environment["PATH"] = "/nonexistent"
            environment["GIT_EXEC_PATH"] = "/nonexistent"
        }
        var command = Command(program, Self.settings + arguments, environment: environment)
        // Diff and add take their paths from where they are run.
        command.directory = workTree
        command.input = Array(input.utf8)
        return try await command.run()
    }

    /// Standard output, without the newlines at its end.
    ///
    /// - Throws: `AutonError` if git fails: `.tryAgain` for a lock or a full disk, else `.bug`.
    @discardableResult
    package func run(_ arguments: String..., input: String = "") async throws -> String {
        try await run(arguments, input: input)
    }

    @discardableResult
    package func run(_ arguments: [String], input: String = "") async throws -> String {
        let result = try await result(arguments, input: input)
        guard result.succeeded else { throw failure(of: arguments.first ?? "", result) }
        return result.line
    }

    /// The error that git's failure is: `.tryAgain` for a lock or a full disk, else `.bug`.
    func failure(of command: String, _ result: CommandResult) -> AutonError {
        let message = result.errors.text
        // Git does not always say why it could not write.
        if message.contains("No space left") || Files.isFull(directory) {
            return AutonError(.tryAgain, "git \(command) failed, the disk is full", at: directory.string)
        }
        return AutonError(
            message.contains(".lock") ? .tryAgain : .bug, "git \(command) failed: \(firstLine(message))", at: directory.string)
    }

    /// The commit that a name stands for, or nil if it stands for none.
    package func commit(_ name: String) async throws -> String? {
        let result = try await result(["rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"])
        return result.succeeded ? result.line : nil
    }

    package func tree(of commit: String) async throws -> String {
        try await run("rev-parse", "--verify", "--end-of-options", commit + "^{tree}")
    }

    /// Moves a branch if it still stands where `old` says; false if it does not. `old` empty: it must not exist.
    package func moveBranch(_ branch: String, to new: String, from old: String) async throws -> Bool {
        let expected = old.isEmpty ? String(repeating: "0", count: 40) : old
        let result = try await result(["update-ref", "refs/heads/\(branch)", new, expected])
        if result.succeeded { return true }
        if try await commit("refs/heads/\(branch)") ?? "" != old { return false }
        throw AutonError(.tryAgain, "git update-ref failed: \(firstLine(result.errors.text))", at: branch)
    }

    /// Removes what killed gits left of these lock files (`refs/heads/main.lock`). To be called by whoever alone has a git at work on what
    /// they lock: a git in whose midst a lock goes may lose what it writes.
    package func removeLocks(_ names: [String]) async throws {
        let left = names.map { directory.appending($0) }.filter(Files.exists)
        if left.isEmpty { return }
        // A git may outlive its parent, if that alone is killed, and is done after a moment.
        try await Task.sleep(for: .seconds(1))
        for lock in left { try Files.removeTree(lock) }
    }

    private func firstLine(_ text: String) -> String {
        text.split(separator: "\n").first.map(String.init) ?? "no message"
    }
}
