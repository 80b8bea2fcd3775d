/// How a kernel did on one machine of the boot matrix.
package struct BootResult: Codable, Sendable, Equatable {
    /// The machine's name: `pvh-smp4`.
    package var name: String
    /// Skipped: this machine or this tree cannot be booted so; `detail` says why.
    package var outcome: Check.Status
    /// Wall time in seconds, that of making the image included where the build does not make it.
    package var seconds: Double
    /// One line: what is wrong, or why it was skipped.
    package var detail: String

    package init(name: String, outcome: Check.Status, seconds: Double = 0, detail: String = "") {
        self.name = name
        self.outcome = outcome
        self.seconds = seconds
        self.detail = detail
    }
}
