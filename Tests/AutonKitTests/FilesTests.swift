import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@Suite struct FilesTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(arguments: [0, 1, 4096, 65537, 3 << 20])
    func readsWhatWasWritten(_ size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try Files.write(directory["file"], bytes, sync: true)
        #expect(try Files.read(directory["file"]) == bytes)
    }

    @Test func readsWhatHasNoSize() throws {
        #expect(try Files.readText("/proc/self/status").contains("\nPid:\t\(getpid())\n"))
    }

    @Test func readsAPipe() throws {
        let (read, write) = try FileDescriptor.pipe()
        defer { try? read.close() }
        try write.closeAfter { _ = try write.writeAll("through a pipe".utf8) }
        #expect(try Files.readText(FilePath("/dev/fd/\(read.rawValue)")) == "through a pipe")
    }

    @Test func aDirectoryIsNoFile() async throws {
        let error = await failure { try Files.read(directory.path) }
        #expect(error?.status == .badInput)
        #expect(error?.description == "cannot read: Is a directory: \(directory.path)")
    }

    @Test func writingReplacesAllOfAFile() throws {
        try directory.write("file", "a longer text")
        try directory.write("file", "short")
        try Files.replace(directory["other"], Array("new".utf8))
        try Files.replace(directory["other"], Array("newer".utf8))
        #expect(try directory.contents() == ["file": "short", "other": "newer"])
    }

    @Test func createDurablyNeverReplaces() throws {
        let path = directory["file"], temporary = directory["temporary"]
        #expect(try Files.createDurably(path, Array("one".utf8), temporary: temporary))
        #expect(try !Files.createDurably(path, Array("two".utf8), temporary: temporary))
        #expect(try directory.contents() == ["file": "one"])
    }

    @Test func renameNewNeverReplaces() throws {
        try directory.write("a", "a")
        try directory.write("b", "b")
        #expect(try !Files.renameNew(directory["a"], to: directory["b"]))
        #expect(try Files.renameNew(directory["a"], to: directory["c"]))
        #expect(try directory.contents() == ["b": "b", "c": "a"])
    }

    @Test func removingATreeFollowsNoLink() throws {
        try directory.write("outside/precious", "keep")
        try directory.write("tree/sub/file", "go")
        symlink(directory["outside"].string, directory["tree/sub/link"].string)
        symlink(directory["outside"].string, directory["link"].string)
        try Files.removeTree(directory["tree"])
        try Files.removeTree(directory["link"])
        try Files.removeTree(directory["nothing"])
        #expect(try directory.contents() == ["outside/precious": "keep"])
    }

    /// A name may be of any bytes but 0 and a slash.
    @Test func removesWhatHasNoNameInUTF8() throws {
        try Files.createDirectories(directory["tree/sub"])
        for name in ["tree/\u{1}.c", "tree/sub/\u{1}"] {
            let bytes = directory[name].string.utf8.map { $0 == 1 ? CChar(bitPattern: 0xff) : CChar(bitPattern: $0) } + [0]
            #expect(close(creat(bytes, 0o644)) == 0)
        }
        try Files.removeTree(directory["tree"])
        #expect(!Files.exists(directory["tree"]))
    }

    @Test func directoriesAreMadeWhereTheyAreMissing() async throws {
        try Files.createDirectories(directory["a/b/c"])
        try Files.createDirectories(directory["a/b/c"])
        #expect(Files.isDirectory(directory["a/b/c"]))
        try directory.write("file", "x")
        #expect(await failure { try Files.createDirectories(directory["file"]) }?.status == .badInput)
        #expect(await failure { try Files.createDirectories(directory["file/below"]) }?.status == .badInput)
    }

    @Test func listIsSortedAndEmptyWhereThereIsNothing() throws {
        for name in ["b", "a", ".hidden"] { try directory.write(name, "") }
        #expect(try Files.list(directory.path) == [".hidden", "a", "b"])
        #expect(try Files.list(directory["nothing"]) == [])
    }

    @Test(arguments: [
        (Errno.noSpace, AutonKit.ExitStatus.tryAgain), (.tooManyOpenFiles, .tryAgain), (.ioError, .tryAgain),
        (.readOnlyFileSystem, .badConfiguration), (.permissionDenied, .badConfiguration), (.noSuchFileOrDirectory, .badInput),
    ])
    func errorsSayWhatWhichAndWhy(code: Errno, status: AutonKit.ExitStatus) async {
        let error = await failure { try Files.failing("cannot read", at: "/some/file") { throw code } }
        #expect(error?.status == status)
        #expect(error?.description == "cannot read: \(code): /some/file")
    }

    @Test func relativePathsAreMadeAbsolute() {
        #expect(Files.absolute("/a/../b/./c") == "/b/c")
        #expect(Files.absolute("x").isAbsolute && Files.absolute("x").lastComponent == "x")
    }
}
