import AutonKit
import SystemPackage

/// The tests that are the user's: nobody else's may stand in for one by having its name, where its file is not built.
enum AcceptanceTests {
    /// Those tests, benchmarks and panics of the image that have the name of one in `acceptance/` and are not in the acceptance tests' code, sorted.
    static func impostors(in elf: ELFImage, tree: FilePath) throws -> [String] {
        let names = try names(in: tree), range = elf.range("__acceptance_text_start", "__acceptance_text_end") ?? 0..<0
        return Set(elf.code.filter { names.contains($0.name) && !range.contains($0.address) }.map(\.name)).sorted()
    }

    /// `mm.frames_unique` of `ktest_mm__frames_unique`; nil of what is no test's.
    static func test(_ function: String) -> String? {
        function.dropping("ktest_").flatMap { name in
            name.firstRange(of: "__").map { name[..<$0.lowerBound] + "." + name[$0.upperBound...] }
        }
    }

    /// By their functions' names: `ktest_mm__frames_unique`.
    static func names(in tree: FilePath) throws -> Set<String> {
        Set(try sources(in: tree.appending("acceptance")).flatMap { names(in: CSource(try Files.read($0))) })
    }

    private static func sources(in directory: FilePath) throws -> [FilePath] {
        guard Files.isDirectory(directory) else { return [] }
        return try Files.list(directory).flatMap { name in
            let path = directory.appending(name)
            return Files.isDirectory(path) ? try sources(in: path) : name.hasSuffix(".c") ? [path] : []
        }
    }

    private static func names(in source: CSource) -> [String] {
        source.tokens.indices.compactMap { index in
            let words = source.tokens[index...].prefix(5).map(\.text)
            guard words.count == 5, words[1] == "(", words[3] == ",",
                let kind = ["KTEST": "ktest", "KBENCH": "kbench", "KPANIC": "kpanic"][words[0]]
            else { return nil }
            return "\(kind)_\(words[2])__\(words[4])"
        }
    }
}
