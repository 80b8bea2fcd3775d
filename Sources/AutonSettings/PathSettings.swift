extension Settings {
    /// Where things lie, relative to the working directory.
    package struct Paths: Sendable {
        package var mailbox = "mailbox"
        package var workspace = "workspace"
        package var runs: String
        package var prompts: String
        package var kernel: String
        package var models: String
        package var desk = "desk"

        init(find: (String) -> String) {
            runs = find("runs")
            prompts = find("prompts")
            kernel = find("kernel")
            models = find("data/models.tsv")
        }
    }
}

extension Setting {
    static let paths: [Setting] = [
        Setting("paths.mailbox", \.paths.mailbox, "The mailbox.", variable: "AUTON_MAILBOX"),
        Setting("paths.workspace", \.paths.workspace, "The agents' repository.", variable: "AUTON_WORKSPACE"),
        Setting("paths.runs", \.paths.runs, "Recorded runs.", variable: "AUTON_RUNS"),
        Setting("paths.prompts", \.paths.prompts, "Role prompts.", variable: "AUTON_PROMPTS"),
        Setting("paths.kernel", \.paths.kernel, "The kernel tree that a new workspace starts from.", variable: "AUTON_KERNEL"),
        Setting(
            "paths.models", \.paths.models, "What models cost and how much they take; [prices] goes over it.",
            variable: "AUTON_MODELS"),
        Setting("paths.desk", \.paths.desk, "Where auton-answer finds the requests of file:DIR.", variable: "AUTON_DESK"),
    ]
}
