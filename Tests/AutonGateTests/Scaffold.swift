import AutonKit
import AutonMessages
import Glibc
import SystemPackage

@testable import AutonGate

/// The kernel tree that is in this package, its protected part; and places to use it in.
enum Scaffold {
    static let package = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    static let kernel = package.appending("kernel")

    /// A C file for the stubbed kernel, with what hostile code needs to leave the harness behind. `code` begins at line 6.
    static func hostile(_ code: String) -> String {
        """
        #include "harness.h"
        static inline void outb(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
        static inline void print(uint16_t port, const char *text) { while (*text) outb(port, (uint8_t)*text++); }
        static inline void leave(uint8_t code) { print(0x3f8, ""); outb(0xf4, code); }
        enum { COM1 = 0x3f8, COM2 = 0x2f8 };
        \(code)

        """
    }

    /// The sources, by their names, of one of the kernels in `Tests/Kernels`.
    static func kernel(named name: String) throws -> [String: String] {
        var found: [String: String] = [:]
        func walk(_ directory: FilePath, _ prefix: String) throws {
            for name in try Files.list(directory) where name != "README.md" {
                let place = directory.appending(name)
                if Files.isDirectory(place) {
                    try walk(place, prefix + name + "/")
                } else {
                    found[prefix + name] = try Files.readText(place)
                }
            }
        }
        try walk(package.appending("Tests/Kernels").appending(name), "")
        return found
    }

    /// C that runs before the first test.
    static func atStart(_ statements: String) -> String {
        "static void begin(void) { \(statements) } INIT(INIT_EARLY, begin);"
    }
}

/// A directory that goes when its value does.
final class Temporary {
    let path: FilePath

    init() throws { path = try Files.createTemporaryDirectory(Files.scratch.appending("auton-gate-test")) }

    deinit { try? Files.removeTree(path) }

    /// Writes files by their names; directories are made.
    func write(_ files: [String: String]) throws {
        for (name, text) in files {
            let file = path.appending(name)
            try Files.createDirectories(file.removingLastComponent())
            try Files.write(file, Array(text.utf8), sync: false)
        }
    }

    /// A buildable copy of the scaffold with `files` added.
    static func kernel(_ files: [String: String]) throws -> Temporary {
        let copy = try Temporary()
        for name in try Files.list(Scaffold.kernel) where Workspace.isProtected(name) || Workspace.isProtected(name + "/") {
            _ = try Files.copyTree(Scaffold.kernel.appending(name), to: copy.path.appending(name))
        }
        try copy.write(files)
        try Worktree.handOver(copy.path)
        return copy
    }

    /// Likewise, with what the scaffold itself was built to, for make to go on from.
    static func builtKernel(_ files: [String: String]) async throws -> Temporary {
        let copy = try kernel(files)
        try BuildCache.put(try await built.value, into: copy.path)
        return copy
    }

    /// Removed when the tests end.
    private static let builtPlace = try! Files.createTemporaryDirectory(Files.scratch.appending("auton-gate-test"))
    private static let built = Task {
        atexit { try? Files.removeTree(builtPlace) }
        let scaffold = try kernel([:])
        guard try await Build.run(in: scaffold.path).succeeded else { throw AutonError(.bug, "the scaffold does not build") }
        let build = builtPlace.appending("build")
        try Files.copyTree(scaffold.path.appending("build"), to: build)
        return build
    }
}

/// A workspace whose main is the scaffold, and what an agent might do to it.
struct TestWorkspace {
    let directory: Temporary
    let workspace: Workspace
    var git: Git { workspace.git }

    init(adding files: [String: String] = [:]) async throws {
        directory = try Temporary()
        let source = try Temporary.kernel(files)
        workspace = try await Workspace.open(directory.path.appending("ws"), from: source.path, origin: .kernel)
    }

    /// Any repository, with no kernel in it.
    init(only files: [String: String]) async throws {
        directory = try Temporary()
        let source = try Temporary()
        try source.write(files)
        workspace = try await Workspace.open(directory.path.appending("ws"), from: source.path, origin: .kernel)
    }

    enum Edit {
        case write(String)
        case bytes([UInt8])
        case delete
        case link(to: String)
        case executable(String)
        case submodule
    }

    /// A commit on top of `base`, made by plumbing so that it can hold what `git add` would not.
    func commit(_ edits: [String: Edit], on base: String = "main") async throws -> String {
        let index = directory.path.appending("index")
        defer { try? Files.removeTree(index) }
        let git = Git(directory: git.directory, index: index)
        try await git.run("read-tree", base)
        var lines = ""
        for (path, edit) in edits.sorted(by: { $0.key < $1.key }) {
            switch edit {
            case .write(let text): lines += "100644 \(try await blob(Array(text.utf8)))\t\(path)\0"
            case .bytes(let bytes): lines += "100644 \(try await blob(bytes))\t\(path)\0"
            case .executable(let text): lines += "100755 \(try await blob(Array(text.utf8)))\t\(path)\0"
            case .link(let target): lines += "120000 \(try await blob(Array(target.utf8)))\t\(path)\0"
            case .submodule: lines += "160000 \(String(repeating: "1", count: 40))\t\(path)\0"
            case .delete: lines += "0 \(String(repeating: "0", count: 40))\t\(path)\0"
            }
        }
        try await git.run("update-index", "-z", "--index-info", input: lines)
        let parent = try await git.run("rev-parse", base)
        return try await git.run("commit-tree", "-p", parent, "-m", "edit", try await git.run("write-tree"))
    }

    private func blob(_ bytes: [UInt8]) async throws -> String {
        let file = directory.path.appending("blob")
        try Files.write(file, bytes, sync: false)
        return try await git.run("hash-object", "-w", "--no-filters", file.string)
    }

    func change(_ edits: [String: Edit], on base: String = "main") async throws -> Change {
        try await Change(from: base, to: try await commit(edits, on: base), in: git)
    }
}

extension TaskMessage {
    static func sample(
        _ id: String = "demo-001", role: Role = .developer, paths: [String] = ["tests/"], accept: [String] = ["demo.*"]
    ) -> TaskMessage {
        TaskMessage(
            PlannedTask(
                id: id, title: "Demo", role: role, subsystem: "tests", description: "A demo.", paths: paths, accept: accept))
    }
}

extension ChangedFile {
    /// A file that is one text before and another after; nil where there is none. One hunk has it all.
    static func made(_ path: String, from old: String? = nil, to new: String?) -> ChangedFile {
        let status: Status = old == nil ? .added : new == nil ? .deleted : .modified
        var file = ChangedFile(path: path, status: status, oldMode: old == nil ? 0 : 0o100644, newMode: new == nil ? 0 : 0o100644)
        let bytes = { (text: String?) in text.map { Array($0.utf8) } }
        (file.oldSize, file.newSize) = (old?.utf8.count, new?.utf8.count)
        file.read(old: bytes(old), new: bytes(new))
        let lines = { (text: String?) in
            (text ?? "").utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(Substring($0)) }
        }
        file.hunks = [Hunk(oldStart: 1, newStart: 1, removed: lines(old), added: lines(new))]
        return file
    }
}

extension DiffRule {
    func violations(in file: ChangedFile) -> [String] { violations(in: Change(files: [file])) }
}
