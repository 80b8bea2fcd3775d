import AutonKit
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// The cache directory is the process's; these run one after the other.
@Suite(.serialized) struct QEMUPluginTests {
    private func plugin(_ code: String, into directory: Temporary) async throws -> [UInt8] {
        let source = try Temporary()
        try source.write(["test.c": code])
        let plugin = try await QEMUPlugin.compile(source.path.appending("test.c"), to: directory.path)
        #expect(plugin.lastComponent == "test.so")
        return try Files.read(plugin)
    }

    /// What was compiled is known by what is in the source, wherever that lies.
    @Test func itIsCompiledOnceForAUser() async throws {
        let cache = try Temporary(), directory = try Temporary()
        setenv("XDG_CACHE_HOME", cache.path.string, 1)
        defer { unsetenv("XDG_CACHE_HOME") }
        let first = try await plugin("int one;\n", into: directory)
        let kept = try Files.children(cache.path.appending("auton/plugins"))
        try #require(kept.count == 1)
        #expect(try Files.read(kept[0]) == first)
        try Files.write(kept[0], [1, 2, 3], sync: false)
        #expect(try await plugin("int one;\n", into: directory) == [1, 2, 3])
        #expect(try await plugin("int two;\n", into: directory).starts(with: [0x7f, 0x45, 0x4c, 0x46]))
        #expect(try Files.children(cache.path.appending("auton/plugins")).count == 2)
    }

    @Test func itNeedsNoCache() async throws {
        let cache = try Temporary(), directory = try Temporary()
        try cache.write(["auton": "a file\n"])
        setenv("XDG_CACHE_HOME", cache.path.string, 1)
        defer { unsetenv("XDG_CACHE_HOME") }
        #expect(try await plugin("int one;\n", into: directory).starts(with: [0x7f, 0x45, 0x4c, 0x46]))
        await #expect(throws: AutonError.self) { try await plugin("int\n", into: directory) }
    }
}
