import AutonMessages

/// What the harness of a booted kernel said on its serial port: KTAP version 1, between the two lines that carry the
/// boot's nonce.
///
/// Lines that are none of KTAP's change nothing. What counts must be whole and in order, and whatever is not is told
/// in `problems`; a report is to be believed only if that is empty.
package struct KTAPReport: Sendable, Equatable {
    /// In the order of their results, then the tests that were begun and have none. Subtests are part of their
    /// parent.
    package var tests: [TestResult] = []
    /// What is wrong with the report as such, one line each; failed tests are not among it.
    package var problems: [String] = []
    /// The test that was begun last, if its result never came: where a hang or a reset was.
    package var running: String?
    /// What the kernel's panic said of itself.
    package var panic: String?
    /// The frames under the panic, innermost first, as the kernel found them by its frame pointers.
    package var trace: [UInt64] = []
    /// Whether any line of KTAP's was there at all.
    package var begun = false

    /// - Parameter nonce: what the boot was given; its lines must repeat it.
    package init(parsing bytes: [UInt8], nonce: String) {
        var parser = KTAPParser(nonce: nonce)
        parser.read(bytes[...])
        self = parser.finish()
    }

    init() {}

    package func names(_ outcome: TestResult.Outcome) -> [String] {
        tests.filter { $0.outcome == outcome }.map(\.name)
    }
}
