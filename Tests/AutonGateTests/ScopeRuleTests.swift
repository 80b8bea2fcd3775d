import Testing

@testable import AutonGate

@Suite struct ScopeRuleTests {
    private func violations(_ paths: [String], in scope: [String]) -> [String] {
        let files = paths.map { ChangedFile(path: $0, status: .added, oldMode: 0, newMode: 0o100644) }
        return ScopeRule(paths: scope).violations(in: Change(files: files))
    }

    @Test func aDirectoryAndAFile() {
        #expect(violations(["boot/a.c", "boot/x/b.c", "lib/string.c"], in: ["boot/", "lib/string.c"]) == [])
    }

    @Test func whatOnlyLooksAlike() {
        let scope = ["boot/", "lib/string.c"]
        for path in ["bootx/a.c", "boot", "lib/string.cc", "lib/string.c/x", "lib/String.c", "x/boot/a.c", "mm/a.c"] {
            #expect(violations([path], in: scope) == ["\(path): not one of the task's paths (boot/, lib/string.c)"])
        }
    }

    @Test func noPathsAllowNothing() {
        #expect(violations(["a"], in: []).count == 1)
        #expect(violations(["a", "b"], in: ["b"]) == ["a: not one of the task's paths (b)"])
    }
}
