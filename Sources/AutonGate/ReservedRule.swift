import SystemPackage

/// What belongs to the harness is used by it alone: a header of its name would be read in its place, its macros
/// redefined would empty the tests, and its tables are not the kernel's to walk.
package struct ReservedRule: DiffRule {
    package static let name = "reserved"

    private static let patterns: [(pattern: String, what: String)] = [
        (
            "^[[:space:]]*#[[:space:]]*(define|undef)[[:space:]]+(KASSERT|KTEST|KBENCH|KSKIP|INIT)",
            "redefines a macro of the harness"
        ),
        ("^[[:space:]]*#[[:space:]]*include.*internal\\.h", "includes what is private to the harness"),
        ("__(start|stop)_(ktests|kbenches)|\\.auton\\.", "touches the harness's tables"),
    ]

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted }.flatMap(violations)
    }

    private func violations(_ file: Change.File) -> [String] {
        let isHeader = ["harness.h", "internal.h"].contains(FilePath(file.path).lastComponent?.string)
        let shadow = isHeader ? ["\(file.path): has the name of a header of the harness"] : []
        return shadow
            + Self.patterns.filter { reserved in
                guard let expression = RegularExpression(reserved.pattern) else { return true }
                return file.added.contains(where: expression.matches)
            }.map { "\(file.path): \($0.what)" }
    }
}
