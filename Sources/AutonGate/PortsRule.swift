import AutonKit

/// The harness's I/O ports are the harness's alone: what writes to them could print a report of its own, or end the boot
/// with any status; what reads them has the nonce.
///
/// A port is found as a number in any spelling, or as an expression of numbers and of names that the change defines,
/// where it reaches `in` or `out`: as an operand, or as an argument of a function of the file that hands it on. Ports that
/// a variable counts up to, that come from a table at run time or from a file that the change leaves alone, are not seen
/// in text. Comparisons with them are free, as are comments and strings.
package struct PortsRule: DiffRule {
    package static let name = "ports"

    package init() {}

    package func violations(in change: Change) -> [String] {
        let files = change.files.filter { !Workspace.isProtected($0.path) }
        let old = PortsC.Names(files.compactMap(\.oldC)), new = PortsC.Names(files.compactMap(\.newC))
        return files.filter { $0.status != .deleted }.flatMap { file in
            let known =
                (file.oldC.map { PortsC($0, old, path: file.path).found } ?? [])
                + (file.oldAssembler.map { PortsAssembler($0).found } ?? [])
            let found =
                (file.newC.map { PortsC($0, new, path: file.path).found } ?? [])
                + (file.newAssembler.map { PortsAssembler($0).found } ?? [])
            return SourceFindings.new(found, since: known).map { "\(file.path): \($0)" }
        }
    }
}
