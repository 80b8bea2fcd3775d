import ArgumentParser
import AutonKit
import AutonMessages
import CLinux
@preconcurrency import Glibc
import SystemPackage

/// What it was started as.
private let programName = CommandLine.arguments.first.map { FilePath($0).lastComponent?.string ?? $0 } ?? "auton"

/// A program of the suite, or a command of one. Of its arguments it complains as of everything, under its name.
package protocol SuiteCommand: AsyncParsableCommand {}

extension SuiteCommand {
    package static var _errorLabel: String { programName }
}

/// Prints a diagnostic as `program: message` on standard error.
package func complain(_ message: String) {
    _ = try? FileDescriptor.standardError.writeAll("\(programName): \(message)\n".utf8)
}

/// Prints text of somebody else's, such as a model's: a terminal gets none of its control characters.
package func show(_ text: String) {
    print(isatty(1) == 0 ? text : text.defanged, terminator: text.hasSuffix("\n") ? "" : "\n")
}

/// Prints a message as it lies in the mailbox.
package func printMessage(_ message: some Message) throws {
    print(String(decoding: try Mailbox.encode(message), as: UTF8.self), terminator: "")
}

/// Runs a program's body and ends it with the documented status, the reason on standard error.
package func stage(_ body: () async throws -> ExitStatus) async throws {
    // Whoever started us may have left the API key open.
    auton_keep_descriptors()
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
    // Not by exit(3): what it tears down may be in use by a thread of a library's still.
    _exit(flushed(status).rawValue)
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
