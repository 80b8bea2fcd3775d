import AutonKit
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// What is built depends on the sources and the tools, and on nothing else.
@Suite struct RebuildTests {
    private static let products = ["build/kernel.elf", "build/disk.img"]

    private func make(_ directory: FilePath, _ arguments: String..., environment: [String: String] = [:]) async throws {
        var command = Command("make", ["--silent"] + arguments)
        command.directory = directory
        command.environment.merge(environment) { $1 }
        let result = try await command.run()
        try #require(result.succeeded, "\(result.errors.text)")
    }

    /// The shipped kernel without its tests, and a disk, built at two places, one job at a time and all at once, in other time zones
    /// and years.
    @Test func twoBuildsAreTheSameBytes() async throws {
        let directory = try Temporary()
        let places = [directory.path.appending("a"), directory.path.appending("much/deeper/and 'quoted'")]
        for place in places {
            for name in try Files.list(Scaffold.kernel) where !["build", "acceptance", "tests"].contains(name) {
                try Files.createDirectories(place)
                try Files.copyTree(Scaffold.kernel.appending(name), to: place.appending(name))
            }
            for (name, text) in try Scaffold.kernel(named: "disk") {
                try Files.createDirectories(place.appending(name).removingLastComponent())
                // The shipped kernel has an entry of its own.
                if name.hasPrefix("boot/disk/") { try Files.write(place.appending(name), Array(text.utf8), sync: false) }
            }
        }
        _ = try await Command("find", [places[1].string, "-exec", "touch", "-d", "2001-02-03", "{}", "+"]).run()
        try await make(places[0], "--jobs=2", environment: ["TZ": "UTC-12"])
        try await make(places[1], "--jobs=1", environment: ["TZ": "UTC+11", "LC_ALL": "C.UTF-8", "HOME": "/tmp"])
        for product in Self.products {
            let images = try places.map { try Files.read($0.appending(product)) }
            #expect(images[0] == images[1], "\(product)")
            #expect(!images[0].isEmpty)
        }
    }

    private static let source = """
        #include "harness.h"
        #include "x.h"
        KTEST(demo, x) { KASSERT_EQ(X, X); ktest_note("x", X); }

        """

    /// Each edit, built on top of the build before it, gives what a clean build gives.
    @Test func anIncrementalBuildIsACleanOne() async throws {
        var files = try Scaffold.kernel(named: "disk")
        files["include/x.h"] = "#pragma once\n#define X 11\n"
        files["include/x.inc"] = "X equ 11\n"
        files["tests/x.c"] = Self.source
        files["mm/y.asm"] = "%include \"x.inc\"\nsection .rodata\ndq X\n"
        let tree = try Temporary.kernel(files)
        func write(_ name: String, _ text: String?) throws {
            if let text { try tree.write([name: text]) } else { try Files.removeTree(tree.path.appending(name)) }
            files[name] = text
        }
        let makefile = try Files.readText(Scaffold.kernel.appending("Makefile"))
        let script = try Files.readText(Scaffold.kernel.appending("kernel.ld"))
        let loader = try #require(files["boot/disk/loader.asm"]), bios = try #require(files["boot/disk/bios.inc"])
        // Together only what takes another way to be noticed.
        let edits: [(String, () async throws -> Void)] = [
            (
                "a header, an include file, the loader, and a source that is older than its object and as long as before",
                {
                    try write("include/x.h", "#pragma once\n#define X 22\n")
                    try write("include/x.inc", "X equ 22\n")
                    try write("boot/disk/loader.asm", loader.replacing("in al, 0x92", with: "in al, 0x92\n\tnop"))
                    try write("tests/x.c", Self.source.replacing("\"x\"", with: "\"z\""))
                    _ = try await Command("touch", ["-d", "2001-02-03", tree.path.appending("tests/x.c").string]).run()
                }
            ),
            (
                "a source more, and what the loader includes",
                {
                    try write("lib/more.c", "extern int more;\nint more = 1;\n")
                    try write("boot/disk/bios.inc", bios.replacing("ATTEMPTS\tequ 3", with: "ATTEMPTS\tequ 4"))
                }
            ),
            ("a source less", { try write("lib/more.c", nil) }),
            (
                "the linker script, and a header less",
                {
                    let before = ". = ALIGN(8);\n\t\t__start_inits"
                    try write("kernel.ld", script.replacing(before, with: before.replacing("8", with: "64")))
                    try write("include/x.h", nil)
                    try write("tests/x.c", "extern int none;\nint none;\n")
                }
            ),
            (
                "a flag, and no disk any more",
                {
                    try write("Makefile", makefile.replacing(" -O2 ", with: " -O1 "))
                    for name in ["mbr.asm", "loader.asm", "bios.inc"] { try write("boot/disk/" + name, nil) }
                }
            ),
        ]
        try #require(try await Build.run(in: tree.path).succeeded)
        var images: Set<[UInt8]> = []
        for (what, edit) in edits {
            try await edit()
            try Worktree.handOver(tree.path)
            let incremental = try await Build.run(in: tree.path)
            try #require(incremental.succeeded, "\(what): \(incremental.diagnostics)")
            let clean = try Temporary.kernel(files)
            try #require(try await Build.run(in: clean.path).succeeded)
            for product in Self.products {
                let pair = [tree.path, clean.path].map { try? Files.read($0.appending(product)) }
                #expect(pair[0] == pair[1], "\(product) after \(what)")
                if let bytes = pair[0] { images.insert(bytes) }
            }
        }
        // Every edit shows in what is built; the kernel without the source is the one before it came, and the disk goes at last.
        #expect(images.count == 2 * edits.count - 2)
        #expect(!Files.exists(tree.path.appending("build/disk.img")))
    }
}
