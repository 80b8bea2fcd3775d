import ArgumentParser
import AutonKit
import AutonMessages
@preconcurrency import Glibc
import SystemPackage

/// Where the stages find one another's work.
package struct Places: ParsableArguments {
    @Option(help: ArgumentHelp("The mailbox.", discussion: "Default: $AUTON_MAILBOX, or mailbox.", valueName: "dir"))
    package var mailbox: String = environment("AUTON_MAILBOX") ?? "mailbox"

    @Option(
        help: ArgumentHelp("The agents' repository.", discussion: "Default: $AUTON_WORKSPACE, or workspace.", valueName: "dir"))
    package var workspace: String = environment("AUTON_WORKSPACE") ?? "workspace"

    package init() {}

    /// The mailbox, its directories made, its complaints on standard error.
    package func openMailbox() throws -> Mailbox {
        var mailbox = Mailbox(FilePath(mailbox))
        mailbox.report = { complain($0) }
        try mailbox.prepare()
        return mailbox
    }

    package func openWorkspace() throws -> Workspace {
        try Workspace(FilePath(workspace))
    }
}

/// The value of an environment variable; nil if it is unset or empty.
package func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// Prints a diagnostic as `program: message` on standard error.
package func complain(_ message: String) {
    let program = CommandLine.arguments.first.map { FilePath($0).lastComponent?.string ?? $0 } ?? "auton"
    _ = try? FileDescriptor.standardError.writeAll("\(program): \(message)\n".utf8)
}

/// Prints a message as it lies in the mailbox.
package func printMessage(_ message: some Message) throws {
    print(String(decoding: try Mailbox.encode(message), as: UTF8.self), terminator: "")
}

/// Runs a program's body and ends it with the documented status, the reason on standard error.
package func stage(_ body: () async throws -> ExitStatus) async throws {
    let status: ExitStatus
    do {
        status = try await body()
    } catch let error as AutonError {
        complain(error.description)
        status = error.status
    } catch {
        complain("unexpected: \(error)")
        status = .bug
    }
    throw ArgumentParser.ExitCode(flushed(status).rawValue)
}

/// What is on standard output is data: a program whose data did not get there has not succeeded.
private func flushed(_ status: ExitStatus) -> ExitStatus {
    if fflush(stdout) == 0 && ferror(stdout) == 0 { return status }
    complain("cannot write: \(Errno(rawValue: errno)): standard output")
    return status == .done ? .tryAgain : status
}

/// The part of every `--help` that tells the exit status.
package let exitStatusHelp = """
    EXIT STATUS: 0 done; 1 judged and refused, with the message filed; 2 out of budget; 64 usage; 65 bad input; \
    69 a needed tool or service is missing; 70 a bug; 75 try again later; 78 bad configuration.
    """

/// What comes with the programs: prompts, recorded runs, the kernel's protected side.
package enum Share {
    /// `name` in the working directory, or where `make install` puts it, beside the program's `bin`.
    package static func find(_ name: String) -> String {
        if Files.exists(FilePath(name)) { return name }
        guard let program = try? FilePath("/proc/self/exe").linkTarget() else { return name }
        let installed = program.removingLastComponent().removingLastComponent().appending("share/auton").appending(name)
        return Files.exists(installed) ? installed.string : name
    }
}

extension FilePath {
    fileprivate func linkTarget() throws -> FilePath {
        let text = try [CChar](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, count in
            count = max(0, readlink(string, buffer.baseAddress!, buffer.count))
            if count == 0 { throw Errno(rawValue: errno) }
        }
        return FilePath(String(decoding: text.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}
