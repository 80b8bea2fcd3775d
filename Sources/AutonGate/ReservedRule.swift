import AutonKit
import SystemPackage

/// What belongs to the harness is used by it alone: its private functions, its tables and their sections, its macros, its
/// headers. The macros redefined would empty the tests, a header of its name, or of one of the kernel's own, would be read in
/// its place, and its functions write the report that the gate reads.
///
/// Names are found as words of C and of nasm, in assembly within strings, and where a macro could join them of parts
/// that stand side by side. What several macros of several files make of a name is not seen here: the build looks at the
/// symbols that came out (`PRIVATE` in the Makefile), and the tables are counted by the boot.
package struct ReservedRule: DiffRule {
    package static let name = "reserved"

    package init() {}

    package func violations(in change: Change) -> [String] {
        let headers = Dictionary(grouping: change.headers.filter { !$0.utf8.starts(with: "tests/".utf8) }, by: Self.included)
        return change.files.filter { $0.status != .deleted && !Workspace.isProtected($0.path) }.flatMap { file in
            (Self.taken(file.path, from: headers)
                + SourceFindings.new(in: file, c: { ReservedC($0, path: file.path).found }, ReservedAssembler.found))
                .map { "\(file.path): \($0)" }
        }
    }

    /// As what a header is included: `/mm/frames.h`, of `include/mm/frames.h`.
    private static func included(_ header: String) -> String { String(header.drop { $0 != "/" }) }

    /// - Parameter headers: the kernel's, by what they are included as.
    private static func taken(_ path: String, from headers: [String: [String]]) -> [String] {
        guard let name = FilePath(path).lastComponent?.string.lowercased() else { return [] }
        if HarnessNames.headers.contains(name) { return ["has the name of a header of the harness"] }
        if HarnessNames.compilerHeaders.contains(name) {
            return ["has the name of a header of the compiler's, which the harness includes"]
        }
        // An include in quotes looks beside the file that it is in first.
        let rooted = "/\(path)"
        let shadowed = rooted.indices.filter { rooted[$0] == "/" }.flatMap { headers[String(rooted[$0...])] ?? [] }
        return shadowed.filter { $0 != path }.min().map { ["would be included in place of \($0)"] } ?? []
    }
}
