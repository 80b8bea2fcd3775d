import AutonKit

/// No key, token or password of the well-known forms is added: what lands on main goes to whoever reads it, models
/// included. What is found is not repeated.
package struct SecretsRule: DiffRule {
    package static let name = "secrets"

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.flatMap { file in
            file.hunks.flatMap { hunk in
                hunk.added.enumerated().compactMap { index, line in
                    Secret.in(line).map { "\(Text.path(file.path)): \($0) (line \(hunk.newStart + index))" }
                }
            }
        }
    }
}
