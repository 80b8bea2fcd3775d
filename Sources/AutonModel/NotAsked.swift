import AutonKit

/// The request has surely reached nobody who could answer it: it has cost nothing.
package struct NotAsked: Error {
    /// As whoever asked is told.
    package var reason: AutonError

    package init(_ reason: AutonError) { self.reason = reason }
}
