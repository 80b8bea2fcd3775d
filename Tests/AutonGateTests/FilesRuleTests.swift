import Testing

@testable import AutonGate

@Suite struct FilesRuleTests {
    private func violations(_ path: String, mode: Int = 0o100644, size: Int? = 10, _ edit: (inout Change.File) -> Void = { _ in })
        -> [String]
    {
        var file = Change.File(path: path, status: .added, oldMode: 0, newMode: mode)
        file.newSize = size
        edit(&file)
        return FilesRule().violations(in: Change(files: [file]))
    }

    @Test func plainText() {
        #expect(violations("boot/entry-2_x+y.asm") == [])
        #expect(violations("a.c", size: 256 << 10) == [])
        #expect(violations("rebuild/a.c") == [])
        #expect(violations("build") == [])
    }

    @Test func whatIsNoPlainFile() {
        #expect(violations("a.c", mode: 0o120000) == ["a.c: a symbolic link"])
        #expect(violations("a.c", mode: 0o160000, size: nil) == ["a.c: a submodule"])
        #expect(violations("a.c", mode: 0o100755) == ["a.c: executable"])
        #expect(violations("a.c", size: nil) == ["a.c: its contents are missing"])
        #expect(violations("a.c", size: 256 << 10 + 1) == ["a.c: 262145 bytes, the limit is 262144"])
        #expect(violations("a.c") { $0.isBinary = true } == ["a.c: binary"])
        #expect(violations("a.c") { $0.isUTF8 = false } == ["a.c: not UTF-8"])
    }

    @Test(arguments: [
        "a b.c", "a\nb.c", "a\u{1b}[31m.c", "$(shell x).c", "a;b.c", "-o/x.c", "boot/-x.c", "für.c", "a:b.c", "a\\b",
    ])
    func names(path: String) {
        #expect(violations(path).count == 1)
        #expect(violations(path).first?.hasSuffix(": its name is not made of letters, digits and . _ + - alone") == true)
        #expect(violations(path).allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 } })
    }

    @Test(arguments: [".gitmodules", ".gitattributes", "boot/.gitattributes", "mm/.gitignore", ".GitModules"]) func ordersToGit(
        path: String
    ) {
        #expect(violations(path) == ["\(path): git would take orders from it"])
    }

    /// A dependency file there would be read by make, an object taken for a fresh one.
    @Test func whatMakeMakes() {
        #expect(violations("build/obj/x.d") == ["build/obj/x.d: build/ is what make makes"])
    }

    @Test func aBadFileMayGo() {
        #expect(violations("a b", mode: 0, size: nil) { ($0.status, $0.oldMode) = (.deleted, 0o120000) } == [])
    }
}
