/// A rule that a change keeps or breaks, judged from the diff alone.
package protocol DiffRule: Sendable {
    /// The name of its check.
    static var name: String { get }

    /// One line for each breach, naming the file; empty if the rule is kept.
    func violations(in change: Change) -> [String]
}

/// The rules, in the order of their checks. A new one is a file beside this and a line here.
package enum DiffRules {
    static let names = [
        ScopeRule.name, ProtectedRule.name, WeakenedTestsRule.name, ReservedRule.name, PortsRule.name, DisguiseRule.name,
        FilesRule.name, ContentRule.name, BuildOutputRule.name, SecretsRule.name,
    ]

    /// - Parameter paths: those of the task; nil if nobody in particular was asked for the change, so that it has no scope
    ///   to keep to.
    package static func all(paths: [String]?) -> [any DiffRule] {
        let scope: [any DiffRule] = paths.map { [ScopeRule(paths: $0)] } ?? []
        return scope + [
            ProtectedRule(), WeakenedTestsRule(), ReservedRule(), PortsRule(), DisguiseRule(), FilesRule(), ContentRule(),
            BuildOutputRule(), SecretsRule(),
        ]
    }
}
