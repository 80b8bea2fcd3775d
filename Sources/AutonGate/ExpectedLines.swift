import AutonKit
import Glibc
import SystemPackage

/// The extended regular expressions of `acceptance/boot.console`, each of which must match a line of every boot's console.
struct ExpectedLines {
    private let expressions: [(pattern: String, expression: RegularExpression)]

    var count: Int { expressions.count }

    /// Nil as long as there is no boot/ to print them.
    init?(in tree: FilePath) throws {
        let file = tree.appending("acceptance/boot.console")
        guard Files.exists(file), try Self.hasSources(tree.appending("boot")) else { return nil }
        let patterns = try Files.readText(file).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
        expressions = try patterns.map { pattern in
            guard let expression = RegularExpression(pattern) else {
                throw AutonError(.badConfiguration, "not a regular expression: \(pattern)", at: "acceptance/boot.console")
            }
            return (pattern, expression)
        }
    }

    /// Those that no line matches.
    func absent(from console: [String]) -> [String] {
        expressions.filter { _, expression in !console.contains(where: expression.matches) }.map(\.pattern)
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
