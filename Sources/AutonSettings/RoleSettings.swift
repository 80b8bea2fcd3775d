/// A member of the team, as `[roles.NAME]` knows it.
package enum TeamRole: String, CaseIterable, Sendable { case manager, architect, developer, tester, reviewer }

extension Settings {
    /// What is particular to one role.
    package struct Role: Sendable {
        /// The model to ask for; nil for everybody's.
        package var model: String?
        /// Nil for everybody's.
        package var effort: Effort?
        /// Turns of a conversation at most.
        package var turns = 60
    }

    package struct Roles: Sendable {
        private var particular: [TeamRole: Role] = [:]

        package subscript(role: TeamRole) -> Role {
            get { particular[role] ?? Role(turns: role == .manager ? 30 : 60) }
            set { particular[role] = newValue }
        }
    }

    /// The model as a role asks for it.
    package func model(of role: TeamRole) -> Model {
        var model = model
        model.name = roles[role].model ?? model.name
        model.effort = roles[role].effort ?? model.effort
        return model
    }
}

extension Setting {
    static let roles: [Setting] = TeamRole.allCases.flatMap { role in
        [
            Setting(
                "roles.\(role).model", \.roles[role].model, "The model that the \(role) asks for; model.name if left out.",
                example: "claude-opus-5-5"),
            Setting(
                "roles.\(role).effort", \.roles[role].effort, "How hard that tries; model.effort if left out.", example: .high),
            Setting("roles.\(role).turns", \.roles[role].turns, "Turns of a conversation at most.", .from(1, to: 1_000)),
        ]
    }
}
