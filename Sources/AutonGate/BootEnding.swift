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
}
