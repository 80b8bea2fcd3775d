import AutonKit
import CLinux
import SystemPackage

/// Tells the reservations of live processes from those of killed ones: whoever has one open holds the lock on the byte of this file whose
/// number is that of the reservation in the ledger. The kernel gives it back however the process ends.
final class LiveReservations: Sendable {
    private let file: FileDescriptor

    init(_ path: FilePath) throws {
        file = try Files.failing("cannot open", at: path) {
            try FileDescriptor.open(
                path, .readWrite, options: [.create, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
        }
    }

    deinit { try? file.close() }

    /// Says that this process has the reservation open which begins at `place`. If that fails, others take it for dead and do not wait.
    func hold(_ place: Int) { _ = auton_lock_byte(file.rawValue, place) }

    func isHeldByAnother(_ place: Int) -> Bool { auton_byte_is_locked(file.rawValue, place) == 1 }
}
