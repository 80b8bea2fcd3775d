import AutonKit

/// What make, a compiler, an editor or a patch left behind is no source. In `build/` make would read a dependency file, and
/// take an object for a fresh one.
package struct BuildOutputRule: DiffRule {
    package static let name = "build-output"

    private static let endings = [
        ".o", ".obj", ".a", ".so", ".ko", ".elf", ".exe", ".bin", ".img", ".iso", ".d", ".map", ".lst", ".gch", ".pch", ".su",
        ".i", ".ii",
        ".s", ".gcda", ".gcno", ".dwo", ".ktap", ".log", ".tmp", ".bak", ".orig", ".rej", ".swp", ".swo", "~", ".pyc",
    ]
    private static let names: Set<String> = ["a.out", "core", "vmcore", "nohup.out", ".DS_Store", "tags", "TAGS", "cscope.out"]

    package init() {}

    package func violations(in change: Change) -> [String] {
        change.files.filter { $0.status != .deleted }.compactMap { file in
            fault(of: file).map { "\(Text.path(file.path)): \($0)" }
        }
    }

    private func fault(of file: ChangedFile) -> String? {
        let parts = file.path.split(separator: "/")
        if parts.count > 1, let directory = parts.first, ["build", "obj", ".build"].contains(directory) {
            return "\(directory)/ is what make makes"
        }
        guard let name = parts.last, file.newMode & 0o170000 == 0o100000 else { return nil }
        if Self.names.contains(String(name)) || Self.endings.contains(where: name.hasSuffix) {
            return "looks like something left behind"
        }
        // Of another name, an object or image shows by how it begins.
        if file.text?.starts(with: [0x7f, 0x45, 0x4c, 0x46]) == true { return "an ELF file" }
        return file.text?.starts(with: "!<arch>\n".utf8) == true ? "an archive of objects" : nil
    }
}
