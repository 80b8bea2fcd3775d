import AutonMessages

/// The checks of one judgement, made one after the other and each timed from the end of the one before.
struct Checklist {
    private(set) var checks: [Check] = []
    /// The tests that the change adds, as far as its text tells.
    var added = AddedTests()
    private var last = ContinuousClock.now
    /// A check that passes whatever it finds: `SelfCheck.isBlind`.
    private let blindTo: String?

    init(blindTo: String? = nil) { self.blindTo = blindTo }

    var hasFailed: Bool { checks.contains { $0.status == .failed } }

    /// The first check that failed, in one line.
    var failure: String? { checks.first { $0.status == .failed }.map { "\($0.name): \($0.detail)" } }

    /// - Parameter failure: one line; nil if the check passed.
    mutating func add(_ name: String, failure: String?, passed: String = "", evidence: [String] = []) {
        let now = ContinuousClock.now
        // Milliseconds, as far as they mean anything.
        let seconds = (last.duration(to: now).seconds * 1000).rounded() / 1000
        last = now
        let failure = name == blindTo ? nil : failure
        checks.append(
            Check(
                name: name, status: failure == nil ? .passed : .failed, seconds: seconds, detail: failure ?? passed,
                evidence: failure == nil ? [] : evidence))
    }

    mutating func skip(_ name: String, because reason: String) {
        checks.append(Check(name: name, status: .skipped, detail: reason))
    }

    /// Why a check was skipped that an accepted candidate must have come to.
    static let notReached = "not reached"

    /// What was not reached is in the list too, so that every verdict shows all that there is to pass.
    mutating func skipRest(of names: [String]) {
        for name in names where !checks.contains(where: { $0.name == name }) { skip(name, because: Self.notReached) }
    }
}
