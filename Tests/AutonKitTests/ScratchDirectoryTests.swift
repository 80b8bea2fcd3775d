import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct ScratchDirectoryTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// As one that was killed leaves it: there, and nobody's.
    @Test func whatNobodyHoldsIsSweptByTheNext() throws {
        try directory.write("tree.abcdef/lib/a.c", "int a;\n")
        try directory.write("trees.abcdef/a", "another's name")
        try directory.write("other/a", "where a link leads")
        symlink(directory["other"].string, directory["tree.linked"].string)
        let first = try ScratchDirectory(directory["tree"])
        #expect(!Files.exists(directory["tree.abcdef"]))
        #expect(Files.exists(directory["trees.abcdef/a"]))
        #expect(Files.exists(directory["other/a"]))
        try Files.write(first.path.appending("a"), [1], sync: false)
        let second = try ScratchDirectory(directory["tree"])
        #expect(first.path != second.path)
        #expect(Files.exists(first.path.appending("a")))
        first.remove()
        second.remove()
        #expect(try Files.list(directory.path) == ["other", "tree.linked", "trees.abcdef"])
    }

    @Test func itsLockGoesWithTheValue() throws {
        let path = try ScratchDirectory(directory["tree"]).path
        #expect(Files.isDirectory(path))
        let next = try ScratchDirectory(directory["tree"])
        #expect(!Files.exists(path))
        next.remove()
    }

    /// Those who make one sweep, and take nobody's that is just being made.
    @Test func manyAtOnce() async throws {
        let prefix = directory["tree"]
        let made = try await withThrowingTaskGroup(of: [ScratchDirectory].self) { group in
            for _ in 0..<8 { group.addTask { try (0..<50).map { _ in try ScratchDirectory(prefix) } } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(made.count == 400 && made.allSatisfy { Files.isDirectory($0.path) })
    }

    @Test func whereNoneCanBeMadeIsSaid() {
        #expect(throws: AutonError.self) { try ScratchDirectory(directory["none/tree"]) }
    }
}
