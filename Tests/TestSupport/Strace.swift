import AutonKit

package enum Strace {
    /// Whether there is a strace(1) that may trace.
    package static var works: Bool {
        get async { (try? await Command("strace", ["-o", "/dev/null", "true"]).run().succeeded) ?? false }
    }
}
