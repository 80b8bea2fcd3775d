import AutonSettings

/// `auton.example.toml`: every setting with its meaning, its default commented out.
enum Example {
    static var text: String {
        let settings = Settings(find: { $0 })
        var text = """
            # What AUTON can be told. Copy this to auton.toml and take the # off what you change: what is shown is the default, or an
            # example for what has none. The environment goes over this file, the command line over both; auton config prints what is
            # in effect and where it comes from. The API key does not belong here: see model.key_file.

            """
        var table = ""
        for setting in Setting.all + Setting.prices(of: "qwen3.5-coder") {
            let name = setting.tableName
            if name != table {
                text += "\n\(setting.variable == nil ? "# " : "")[\(name)]\n"
                table = name
            }
            let value = setting.value(settings)
            let notes = (setting.variable.map { ["$\($0)"] } ?? []) + (value == nil ? ["no default"] : [])
            text += """

                # \(setting.summary)
                # \(setting.allowed.capitalized)\(notes.isEmpty ? "" : " (\(notes.joined(separator: "; ")))").
                # \(setting.name) = \((value ?? setting.example)?.toml ?? "")

                """
        }
        return text
    }
}

extension String {
    fileprivate var capitalized: String { prefix(1).uppercased() + dropFirst() }
}
