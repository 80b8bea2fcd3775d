import AutonKit
import Glibc
import SystemPackage

/// Names that are a file's own though nothing in it says so: by assembly in it, a label or `.set`, whoever has that name there has another
/// function than all others. C has `static`, after which the name is no other file's, and nasm's labels are its files' own.
enum Shadows {
    /// What is wrong with the first, if there is one.
    static func fault(of elf: ELFImage, in tree: FilePath) throws -> String? {
        let shadows = elf.shadows.filter { !$0.file.hasSuffix(".asm") }
        guard !shadows.isEmpty else { return nil }
        let sources = try sources(in: tree)
        return try shadows.first { shadow in
            let name = FilePath(shadow.file).lastComponent?.string ?? ""
            return try !(sources[name] ?? []).contains { path in
                declares(shadow.name, CSource(try Files.read(path)))
            }
        }.map { "\($0.file) has a \($0.name) of its own, which is all files'" }
    }

    /// Whether a file says that the name is its own: `static bool ready, begun;`.
    private static func declares(_ name: String, _ source: CSource) -> Bool {
        source.units.contains { unit in
            guard source.isStatic(unit) else { return false }
            if unit.name == name { return true }
            let words = source.tokens[unit.words]
            return unit.kind != .function
                && words.indices.dropFirst().dropLast().contains { index in
                    words[index].isIdentifier(name) && [",", "*"].contains(words[index - 1].text)
                        || words[index].isIdentifier(name) && [",", ";", "=", "["].contains(words[index + 1].text)
                            && words[index - 1].kind == .identifier
                }
        }
    }

    /// The files by their names without directories, as the linker has them.
    private static func sources(in tree: FilePath) throws -> [String: [FilePath]] {
        var found: [String: [FilePath]] = [:], left = try Files.children(tree).filter { $0.lastComponent?.string != "build" }
        while let path = left.popLast() {
            switch Files.type(of: path) {
            case S_IFDIR: left += try Files.children(path)
            case S_IFREG: found[path.lastComponent?.string ?? "", default: []].append(path)
            default: break
            }
        }
        return found
    }
}
