import CLinux
import Glibc
import SystemPackage

/// A sandbox that is entered by its first command and serves all that come after it, one at a time. Each is a process tree
/// of its own that is gone when its result is there, and what it left outside the directory is gone too.
package actor SandboxSession {
    package nonisolated let sandbox: Sandbox
    private var supervisor: SandboxSupervisor?
    private var isBusy = false

    package init(_ sandbox: Sandbox) { self.sandbox = sandbox }

    /// - Parameter limits: those of this command; the sandbox's if left out.
    /// - Throws: `AutonError`: `.unavailable` if the sandbox cannot be set up or has no such program, `.tryAgain` if it failed
    ///   while the command ran, or the disk is nearly full. The next command enters it anew.
    package func run(_ program: String, _ arguments: [String], input: [UInt8] = [], limits: Sandbox.Limits? = nil) async throws
        -> CommandResult
    {
        guard !isBusy else { throw AutonError(.bug, "two commands at once in one sandbox", at: sandbox.directory.string) }
        isBusy = true
        defer { isBusy = false }
        let inside = try await enter()
        let answer: SandboxSupervisor.Answer
        do {
            answer = try await inside.run(
                [program] + arguments, input: input, limits: limits ?? sandbox.limits, stop: sandbox.stop)
            if answer.reply.is_clean == 0 { await leave() }
        } catch {
            await leave()
            throw error
        }
        return try result(of: answer, program)
    }

    /// Enters it now, for who does not want the first command to wait for that.
    @discardableResult
    private func enter() async throws -> SandboxSupervisor {
        if let supervisor { return supervisor }
        let entered = try await SandboxSupervisor.enter(sandbox)
        supervisor = entered
        return entered
    }

    /// Ends it. Returns when nothing of it runs any more.
    package func leave() async {
        await supervisor?.leave()
        supervisor = nil
    }

    private func result(of answer: SandboxSupervisor.Answer, _ program: String) throws -> CommandResult {
        let ending: CommandResult.Ending
        let code = Int32(truncatingIfNeeded: answer.reply.code)
        switch auton_sandbox_ending(UInt32(truncatingIfNeeded: answer.reply.ending)) {
        case AUTON_SANDBOX_EXITED: ending = .exited(code)
        case AUTON_SANDBOX_SIGNALLED: ending = .signalled(code)
        case AUTON_SANDBOX_STOPPED: ending = .timedOut
        case AUTON_SANDBOX_MEMORY: ending = .exceeded(.memory)
        case AUTON_SANDBOX_DISK: ending = .exceeded(.disk)
        case AUTON_SANDBOX_SHORTAGE: throw AutonError(.tryAgain, "the disk is nearly full", at: sandbox.directory.string)
        case AUTON_SANDBOX_NOT_BEGUN where [ENOENT, EACCES].contains(code):
            throw AutonError(.unavailable, "cannot run in the sandbox: \(Errno(rawValue: code))", at: program)
        case AUTON_SANDBOX_NOT_BEGUN:
            var errors = CapturedOutput(limit: answer.output.limit)
            errors.append("\(program): \(Errno(rawValue: code))\n".utf8)
            return CommandResult(ending: .exited(126), output: answer.output, errors: errors)
        default: throw AutonError(.bug, "the sandbox answers nonsense", at: program)
        }
        return CommandResult(ending: ending, output: answer.output, errors: answer.errors)
    }
}
