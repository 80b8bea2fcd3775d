import AutonKit

/// What the user wrote, nobody changes: spec, acceptance tests, harness, Makefile, linker script.
package struct ProtectedRule: DiffRule {
    package static let name = "protected"

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.map(\.path).filter(isProtected).map { "\($0): protected, only the user may change it" }
    }

    /// make would take a `GNUmakefile` or a `makefile` before the user's; and on a file system without case they are
    /// one file.
    private func isProtected(_ path: String) -> Bool {
        Workspace.isProtected(path) || ["makefile", "gnumakefile"].contains(path.lowercased())
    }
}
