import AutonMessages

/// Why earlier attempts did not land, as a model reads it.
package func describe(_ reasons: [Reason]) -> String {
    reasons.map { reason in
        (["### Attempt \(reason.attempt), \(reason.stage.rawValue): \(reason.summary)"] + reason.details).joined(separator: "\n")
    }.joined(separator: "\n\n")
}
