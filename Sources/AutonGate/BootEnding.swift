import AutonKit
import Glibc
import SystemPackage

/// How a boot ended, as QEMU's exit status tells it.
package enum BootEnding: Sendable, Equatable {
    /// 33: the harness says that all tests passed, and that there was one.
    case passed
    /// 35: it says that one failed or none ran.
    case failed
    /// 37: the kernel's panic.
    case panic
    /// 0: the machine reset itself, by triple fault or on purpose.
    case reset
    case timedOut
    /// Killed, or to be disbelieved, because a serial port printed more than `Boot.outputLimit`.
    case flooded
    /// QEMU refused the image.
    case notLoadable
    case other(Int32)

    init(status: Int32) {
        self =
            switch status {
            case 0: .reset
            case 33: .passed
            case 35: .failed
            case 37: .panic
            default: .other(status)
            }
    }

    /// What QEMU and glib say when they abort for want of memory or threads; to the last word, errors of the C library's.
    private static let shortages = ["failed to allocate", "Cannot allocate memory", "Resource temporarily unavailable"]

    /// - Parameters:
    ///   - complaint: QEMU's first line on standard error.
    ///   - isSilent: whether nothing was printed on either port.
    /// - Throws: `AutonError` if it tells of this computer and not of the kernel.
    init(_ ending: CommandResult.Ending, complaint: String, isSilent: Bool, image: FilePath) throws {
        switch ending {
        case .timedOut: self = .timedOut
        case .exited(1) where isSilent && !complaint.isEmpty:
            // QEMU ended before the kernel began. The image can be the reason, but so can this machine.
            guard complaint.contains("kernel") || complaint.contains("ELF") else {
                throw AutonError(.unavailable, "QEMU does not start: \(complaint)", at: image.string)
            }
            self = .notLoadable
        case .signalled(SIGKILL), .signalled(SIGTERM):
            // Nothing that a kernel does kills QEMU, whatever status it has it exit with; somebody on this machine did, or its
            // memory is short.
            throw AutonError(.tryAgain, "QEMU was killed from outside", at: image.string)
        case .signalled where Self.shortages.contains(where: complaint.contains):
            throw AutonError(.tryAgain, "QEMU is short of memory: \(complaint)", at: image.string)
        case .exceeded(let resource):
            throw AutonError(.tryAgain, "QEMU was killed at the sandbox's limit of \(resource.rawValue)", at: image.string)
        case .exited(let status): self.init(status: status)
        case .signalled(let signal): self = .other(128 + signal)
        }
    }
}
