extension Settings {
    /// How many work, and how long at a task.
    package struct Team: Sendable {
        package var developers = 4
        package var reviewers: Int?
        package var attempts = 3
        package var replans = 2
    }
}

extension Setting {
    static let team: [Setting] = [
        Setting(
            "team.developers", \.team.developers, "Tasks that are at work at once.", .from(3, to: 6), variable: "AUTON_DEVELOPERS"
        ),
        Setting(
            "team.reviewers", \.team.reviewers, "Reviews that are at work at once; as many as tasks if left out.",
            .from(1, to: 6), example: 2),
        Setting(
            "team.attempts", \.team.attempts, "Attempts at a task until it is blocked.", .from(1, to: 100),
            variable: "AUTON_ATTEMPTS"),
        Setting(
            "team.replans", \.team.replans, "How often the Manager plans again what is blocked.", .from(0, to: 100),
            variable: "AUTON_REPLANS"),
    ]
}
