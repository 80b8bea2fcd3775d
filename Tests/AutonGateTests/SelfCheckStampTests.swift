import AutonKit
import Glibc
import SystemPackage
import Testing

@testable import AutonGate

/// The cache directory is the process's; these run one after the other.
@Suite(.serialized) struct SelfCheckStampTests {
    @Test func itIsOfExactlyWhatWasChecked() async throws {
        let cache = try Temporary(), kernel = try Temporary.kernel([:]), corpus = try Temporary()
        try corpus.write(["a.patch": "a\n"])
        setenv("XDG_CACHE_HOME", cache.path.string, 1)
        defer { unsetenv("XDG_CACHE_HOME") }
        let stamp = { try await SelfCheckStamp(corpus: corpus.path, kernel: kernel.path) }
        #expect(try await !stamp().isThere)
        try await stamp().leave()
        #expect(try await stamp().isThere)
        // Where they lie is nobody's business, nor is what is not of the protected side that it uses.
        let elsewhere = (kernel: try Temporary(), corpus: try Temporary())
        try Files.copyTree(kernel.path, to: elsewhere.kernel.path)
        try Files.copyTree(corpus.path, to: elsewhere.corpus.path)
        #expect(try await SelfCheckStamp(corpus: elsewhere.corpus.path, kernel: elsewhere.kernel.path).isThere)
        try kernel.write(["lib/new.c": "int x;\n"])
        #expect(try await stamp().isThere)
        try kernel.write(["harness/new.c": "\n"])
        #expect(try await !stamp().isThere)
        try await stamp().leave()
        try corpus.write(["a.patch": "b\n"])
        #expect(try await !stamp().isThere)
    }

    /// Another program has proven nothing; the one that runs is who asks, whatever reads it.
    @Test func itIsOfTheProgram() async throws {
        let cache = try Temporary(), kernel = try Temporary.kernel([:]), corpus = try Temporary()
        setenv("XDG_CACHE_HOME", cache.path.string, 1)
        defer { unsetenv("XDG_CACHE_HOME") }
        try corpus.write(["program": "one\n"])
        let program = corpus.path.appending("program")
        try await SelfCheckStamp(program: Tools.running, corpus: kernel.path, kernel: kernel.path).leave()
        #expect(try await SelfCheckStamp(corpus: kernel.path, kernel: kernel.path).isThere)
        let stamp = { try await SelfCheckStamp(program: program, corpus: kernel.path, kernel: kernel.path) }
        #expect(try await !stamp().isThere)
        try await stamp().leave()
        #expect(try await stamp().isThere)
        try corpus.write(["program": "two\n"])
        #expect(try await !stamp().isThere)
    }

    @Test func whereThereIsNoHomeNothingIsKept() async throws {
        let home = environment("HOME") ?? ""
        setenv("HOME", "/nonexistent", 1)
        defer { setenv("HOME", home, 1) }
        let stamp = try await SelfCheckStamp(corpus: Scaffold.package.appending("data"), kernel: Scaffold.kernel)
        stamp.leave()
        #expect(!stamp.isThere)
    }
}
