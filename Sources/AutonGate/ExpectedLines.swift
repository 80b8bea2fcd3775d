import AutonKit
import Glibc
import SystemPackage

/// The extended regular expressions of `acceptance/boot.console`, each of which must match a line of every boot's console.
struct ExpectedLines {
    private let expressions: [RegularExpression]

    var count: Int { expressions.count }

    /// Nil as long as there is no boot/ to print them.
    init?(in tree: FilePath) throws {
        let file = tree.appending("acceptance/boot.console")
        guard Files.exists(file), try Self.hasSources(tree.appending("boot")) else { return nil }
        expressions = try RegularExpression.list(in: file)
    }

    /// Those that no line matches.
    func absent(from console: [String]) -> [String] {
        expressions.filter { !console.contains(where: $0.matches) }.map(\.pattern)
    }

    /// The disk's boot sector and loader are no part of the kernel.
    private static func hasSources(_ directory: FilePath) throws -> Bool {
        try Files.list(directory).contains { name in
            try name.hasSuffix(".c") || name.hasSuffix(".asm")
                || (name != "disk" && Files.type(of: directory.appending(name)) == S_IFDIR
                    && hasSources(directory.appending(name)))
        }
    }
}
