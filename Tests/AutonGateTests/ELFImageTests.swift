import AutonKit
import AutonMessages
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct ELFImageTests {
    private static func image() async throws -> [UInt8] {
        let kernel = try Temporary.kernel(["mm/x.c": "extern char x[4096]; char x[4096];\n"])
        return try Files.read(try await Build.run(in: kernel.path).image)
    }

    @Test func theSizesAreThoseThatToolsSay() async throws {
        let kernel = try Temporary.kernel([:])
        let path = try await Build.run(in: kernel.path).image
        let said = try await Command("size", ["-A", "-d", path.string]).run().output.text.split(separator: "\n").compactMap {
            line -> SectionSize? in
            let words = line.split(separator: " ")
            // Sections that are not loaded have no address; empty ones take no memory.
            guard words.count == 3, let bytes = Int(words[1]), bytes > 0, UInt64(words[2]) ?? 0 > 0 else { return nil }
            return SectionSize(name: String(words[0]), bytes: bytes)
        }
        let sizes = try #require(ELFImage(try Files.read(path))).sizes
        #expect(sizes == said)
        #expect(sizes.contains { $0.name == ".text" })
    }

    @Test func aMultiboot2Header() async throws {
        #expect(ELFImage(try await Self.image())?.hasMultiboot2 == false)
        let kernel = try Temporary.kernel(try Scaffold.kernel(named: "disk"))
        #expect(ELFImage(try Files.read(try await Build.run(in: kernel.path).image))?.hasMultiboot2 == true)
    }

    /// Symbols are the linker's: what a kernel brings by that name is not read in their place.
    @Test(arguments: [(".symtab", "progbits"), (".symtab", "nobits"), (".strtab", "progbits"), (".shstrtab", "progbits")])
    func aTableOfTheKernelsOwn(section: String, type: String) async throws {
        #expect(try #require(ELFImage(try await Self.image())).fault == nil)
        let text = "__asm__(\".section \(section),\\\"\\\",@\(type)\\n\\t.zero 24\\n\\t.text\");\n"
        let kernel = try Temporary.kernel(["mm/x.c": text])
        let build = try await Build.run(in: kernel.path)
        let image = try #require(ELFImage(try Files.read(build.image)), "\(build.diagnostics)")
        #expect(image.fault == "the image has several sections \(section)")
        #expect(section != ".symtab" || image.address(of: "report_sent") == nil)
    }

    /// Whoever calls `memcmp` in that file calls another than all others do.
    @Test(arguments: ["memcmp:", ".set memcmp, right", ".local memcmp; .comm memcmp, 8"])
    func aNameThatIsAnothersToo(code: String) async throws {
        let text = "static __attribute__((used)) int right(void) { return 0; }\n__asm__(\".text\\n\(code)\\n\\tret\");\n"
        let kernel = try Temporary.kernel(["mm/x.c": text, "lib/y.c": "int memcmp(void);\nint memcmp(void) { return 1; }\n"])
        let build = try await Build.run(in: kernel.path)
        let image = try #require(ELFImage(try Files.read(build.image)), "\(build.diagnostics)")
        #expect(try Shadows.fault(of: image, in: kernel.path) == "x.c has a memcmp of its own, which is all files'")
    }

    /// So it is of the language's own, here and in the harness, which has a `ready`.
    @Test func whatCSaysIsAFilesOwn() async throws {
        let kernel = try Temporary.kernel([
            "mm/x.c": "int ready(void);\nint ready(void) { return 1; }\nint last(void);\nint last(void) { return 2; }\n",
            "lib/y.c": "static __attribute__((used, noinline)) int last(void) { return 3; }\n",
        ])
        let build = try await Build.run(in: kernel.path)
        let image = try #require(ELFImage(try Files.read(build.image)), "\(build.diagnostics)")
        #expect(Set(image.shadows.map(\.name)) == ["ready", "last"])
        #expect(try Shadows.fault(of: image, in: kernel.path) == nil)
    }

    /// Cut anywhere, or with any of its numbers another, it is read or refused and nothing worse.
    @Test func whatMisleads() async throws {
        let good = try await Self.image()
        for end in stride(from: 0, to: good.count, by: 997) { #expect(ELFImage(Array(good[..<end])) == nil || end == good.count) }
        let table = good[0x28..<0x30].reversed().reduce(0) { $0 << 8 | Int($1) }
        for place in Array(0..<64) + Array(stride(from: table, to: good.count, by: 3)) {
            for byte in [0, 1, 0x7f, 0xff] as [UInt8] {
                var bad = good
                bad[place] = byte
                _ = ELFImage(bad)?.sizes
            }
        }
        var huge = good
        for place in 0x28..<0x40 { huge[place] = 0xff }
        #expect(ELFImage(huge) == nil)
        #expect(ELFImage([]) == nil)
    }
}
