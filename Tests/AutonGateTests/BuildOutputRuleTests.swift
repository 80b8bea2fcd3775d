import Testing

@testable import AutonGate

@Suite struct BuildOutputRuleTests {
    private func violations(_ path: String, _ text: String = "x\n") -> [String] {
        BuildOutputRule().violations(in: .made(path, to: text))
    }

    @Test(arguments: [
        "boot/entry.asm", "lib/a.c", "include/a.h", "include/a.inc", "include/syscalls.def", "lib/core/a.c", "lib/core.c",
        "rebuild/a.c",
        "build", "mm/map.c", "lib/log.c", "drivers/x.d/a.c", "README.md",
    ])
    func sources(path: String) {
        #expect(violations(path) == [])
    }

    /// A dependency file there would be read by make, an object taken for a fresh one.
    @Test(arguments: ["build/obj/x.d", "build/kernel.elf", "build/a.c"]) func whatMakeMakes(path: String) {
        #expect(violations(path) == ["\(path): build/ is what make makes"])
    }

    @Test(arguments: [
        "lib/a.o", "kernel.elf", "lib/liba.a", "lib/a.c.d", "kernel.map", "a.out", "core", "lib/a.c.orig", "lib/a.c.rej",
        "lib/.a.c.swp", "lib/a.c~", "test.ktap", "lib/a.i", "lib/a.s", "disk.img", "boot.iso", "mm/a.su", "core.1234", "a.dump",
        "compile_commands.json",
    ])
    func whatIsLeftBehind(path: String) {
        #expect(violations(path) == ["\(path): looks like something left behind"])
    }

    @Test func byItsContents() {
        #expect(violations("lib/blob", "\u{7f}ELF\u{2}") == ["lib/blob: an ELF file"])
        #expect(violations("lib/blob", "!<arch>\n") == ["lib/blob: an archive of objects"])
    }

    @Test func itMayGo() {
        #expect(BuildOutputRule().violations(in: .made("lib/a.o", from: "x", to: nil)) == [])
    }
}
