import AutonKit
import Glibc

/// The environment variables that are ours: those of the settings, and those that the programs tell one another by.
enum Variables {
    private static let prefix = "AUTON_"
    private static let internals = [
        "AUTON_BIN", "AUTON_BUDGET_DEADLINE", "AUTON_CONFIG", "AUTON_CONVERSATION", "AUTON_DIRECTORY", "AUTON_GOAL",
        "AUTON_ON_KERNEL", "AUTON_REPLAYS", "AUTON_SCHEDULE", "AUTON_SHARE", "AUTON_STRICT", "AUTON_TURN",
        Sandbox.renouncement,
    ]

    /// The names in the environment that could be ours.
    static var present: [String] {
        var names: [String] = [], entry = environ
        while let text = entry.pointee {
            if strncmp(text, prefix, prefix.utf8.count) == 0 { names.append(String(String(cString: text).prefix { $0 != "=" })) }
            entry += 1
        }
        return names.sorted()
    }

    /// Refuses what somebody meant for one of ours: a name that begins like a section's, or is a slip or two away from a known one.
    /// Others that begin like ours are somebody else's.
    ///
    /// - Throws: `AutonError` with `.badConfiguration`.
    static func check(_ names: [String]) throws {
        let known = Set(Setting.all.compactMap(\.variable) + internals)
        let sections = Setting.tables.compactMap(\.first).map { prefix + $0.uppercased() + "_" }
        for name in names where !known.contains(name) {
            // As a setting's is called whose variable is not called after it, or letter by letter.
            let byKey = Setting.all.first { prefix + $0.parts.joined(separator: "_").uppercased() == name }?.variable
            let (distance, nearest) = known.map { (Nearest.distance(name, $0), $0) }.min { $0 < $1 } ?? (.max, "")
            guard distance <= 2 || sections.contains(where: name.hasPrefix) else { continue }
            let meant = byKey ?? (distance <= name.utf8.count / 3 ? nearest : nil)
            throw AutonError(.badConfiguration, "\(name): unknown variable" + (meant.map { "; did you mean \($0)?" } ?? ""))
        }
    }
}
