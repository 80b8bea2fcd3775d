/// How every program of the suite ends, after sysexits(3) where it has a number for the case.
package enum ExitStatus: Int32, Sendable {
    case done = 0
    /// Judged and refused: rejected, in conflict, interaction found. The message that says so is filed.
    case refused = 1
    /// The budget is spent.
    case budget = 2
    case usage = 64
    case badInput = 65
    /// A tool or service that is needed is missing.
    case unavailable = 69
    case bug = 70
    /// Nothing is wrong with the request, but it cannot be served now.
    case tryAgain = 75
    case badConfiguration = 78
}

/// What stops a program, told as `program: what failed: where`.
package struct AutonError: Error, CustomStringConvertible {
    package var status: ExitStatus
    package var what: String
    package var location: String?

    package init(_ status: ExitStatus, _ what: String, at location: String? = nil) {
        self.status = status
        self.what = what
        self.location = location
    }

    package var description: String {
        location.map { "\(what): \($0)" } ?? what
    }
}
