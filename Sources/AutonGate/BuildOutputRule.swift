import AutonKit

/// What make, a compiler, an editor or a patch left behind is no source. In `build/` make would read a dependency file, and
/// take an object for a fresh one.
package struct BuildOutputRule: DiffRule {
    package static let name = "build-output"

    private static let endings = [
        ".o", ".obj", ".a", ".so", ".ko", ".elf", ".exe", ".bin", ".img", ".iso", ".d", ".map", ".lst", ".gch", ".pch", ".su",
        ".i", ".ii",
        ".s", ".gcda", ".gcno", ".dwo", ".ktap", ".log", ".tmp", ".bak", ".orig", ".rej", ".swp", ".swo", "~", ".pyc",
        ".out", ".dump", ".dis", ".sym", ".debug", ".hex", ".qcow2", ".depend",
    ]
    private static let names: Set<String> = [
        "a.out", "core", "vmcore", "nohup.out", ".DS_Store", "tags", "TAGS", "compile_commands.json",
    ]

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted }.compactMap { file in
            fault(of: file).map { "\(Text.path(file.path)): \($0)" }
        }
    }

    private func fault(of file: ChangedFile) -> String? {
        let parts = file.path.split(separator: "/")
        if let directory = parts.dropLast().first(where: { ["build", "obj", ".build", "__pycache__"].contains($0) }) {
            return "\(directory)/ is what make makes"
        }
        guard let name = parts.last, file.newMode & 0o170000 == 0o100000 else { return nil }
        let isDump = name.hasPrefix("core.") && name.dropFirst(5).allSatisfy(\.isNumber)
        if isDump || Self.names.contains(String(name)) || Self.endings.contains(where: name.hasSuffix) {
            return "looks like something left behind"
        }
        // Of another name, an object or image shows by how it begins.
        if file.text?.starts(with: [0x7f, 0x45, 0x4c, 0x46]) == true { return "an ELF file" }
        return file.text?.starts(with: "!<arch>\n".utf8) == true ? "an archive of objects" : nil
    }
}
