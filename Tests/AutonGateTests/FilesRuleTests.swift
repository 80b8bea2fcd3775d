import Testing

@testable import AutonGate

@Suite struct FilesRuleTests {
    private func violations(_ path: String, mode: Int = 0o100644, status: ChangedFile.Status = .added) -> [String] {
        FilesRule().violations(in: ChangedFile(path: path, status: status, oldMode: 0, newMode: mode))
    }

    @Test(arguments: ["boot/entry-2_x+y.asm", "a.c", "lib/.keep"]) func plainFiles(path: String) {
        #expect(violations(path) == [])
    }

    @Test(arguments: [
        (0o120000, "a symbolic link"), (0o160000, "a submodule"), (0o100755, "executable"), (0o100664, "mode 100664"),
    ])
    func whatIsNoPlainFile(mode: Int, what: String) {
        #expect(violations("a.c", mode: mode) == ["a.c: \(what)"])
        #expect(violations("a.c", mode: mode, status: .typeChanged) == ["a.c: \(what)"])
    }

    @Test(arguments: [
        "a b.c", "a\nb.c", "a\tb.c", "a\u{1b}[31m.c", "$(shell x).c", "a;b.c", "-o/x.c", "boot/-x.c", "für.c", "a:b.c", "a\\b",
        ".g\u{200c}itmodules",
    ])
    func names(path: String) {
        #expect(violations(path).count == 1)
        #expect(violations(path).first?.hasSuffix(": its name is not made of letters, digits and . _ + - alone") == true)
        #expect(violations(path).allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 } })
    }

    @Test(arguments: [".gitmodules", ".gitattributes", "boot/.gitattributes", "mm/.gitignore", ".GitModules", "x/.git/config"])
    func ordersToGit(path: String) {
        #expect(violations(path) == ["\(path): git would take orders from it"])
    }

    @Test(arguments: ["../config", "lib/../../x.c", "/tmp/x.c", "lib//x.c", "./x.c"]) func elsewhere(path: String) {
        #expect(violations(path) == ["\(path): its name leads elsewhere"])
    }

    @Test func anEmptyDirectory() {
        #expect(FilesRule().violations(in: .made("mm/.gitkeep", to: "")) == [])
        #expect(FilesRule().violations(in: .made("mm/.gitkeep", to: "x")).count == 1)
        #expect(FilesRule().violations(in: .made("-mm/.gitkeep", to: "")).count == 1)
        #expect(FilesRule().violations(in: .made(".git/.gitkeep", to: "")).count == 1)
    }

    @Test func aBadFileMayGo() {
        #expect(violations("a b", mode: 0, status: .deleted) == [])
    }
}
