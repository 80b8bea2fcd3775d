import Testing

@testable import AutonGate

@Suite struct ContentRuleTests {
    private func violations(_ bytes: [UInt8]?, size: Int? = nil) -> [String] {
        var file = ChangedFile(path: "a.c", status: .added, oldMode: 0, newMode: 0o100644)
        file.newSize = size ?? bytes?.count
        file.read(old: nil, new: bytes)
        return ContentRule().violations(in: file)
    }

    @Test func text() {
        #expect(violations([]) == [])
        #expect(violations(Array("/* für */\r\n\tint a;\n".utf8)) == [])
        #expect(violations(nil, size: Change.largestFile) == [])
    }

    @Test func whatIsNoText() {
        #expect(violations([0x61, 0, 0x62]) == ["a.c: binary"])
        #expect(violations([0x66, 0xfc, 0x72]) == ["a.c: not UTF-8"])
        #expect(violations(nil) == ["a.c: its contents are missing"])
        #expect(violations(nil, size: Change.largestFile + 1) == ["a.c: 262145 bytes, the limit is 262144"])
    }

    /// What was there already in a file is no less binary for not being on a changed line.
    @Test func theWholeFileIsJudged() {
        var file = ChangedFile.made("a.c", from: "a\0b\nc\n", to: "a\0b\nd\n")
        file.hunks = [ChangedFile.Hunk(oldStart: 2, newStart: 2, removed: ["c"], added: ["d"])]
        #expect(ContentRule().violations(in: file) == ["a.c: binary"])
    }

    @Test func aBadFileMayGo() {
        #expect(ContentRule().violations(in: ChangedFile(path: "a", status: .deleted, oldMode: 0o100644, newMode: 0)) == [])
    }
}
