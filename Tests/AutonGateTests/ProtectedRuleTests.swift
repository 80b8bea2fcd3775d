import Testing

@testable import AutonGate

@Suite struct ProtectedRuleTests {
    private func violations(_ path: String, _ status: ChangedFile.Status) -> [String] {
        let file = ChangedFile(
            path: path, status: status, oldMode: status == .added ? 0 : 0o100644, newMode: status == .deleted ? 0 : 0o100644)
        return ProtectedRule().violations(in: Change(files: [file]))
    }

    @Test(arguments: [
        "Makefile", "kernel.ld", "README.md", "spec/boot.md", "acceptance/boot.c", "acceptance/new.c", "harness/run.c",
        "GNUmakefile", "makefile",
    ])
    func theUsersSide(path: String) {
        for status in [ChangedFile.Status.added, .modified, .deleted, .typeChanged] {
            #expect(violations(path, status) == ["\(path): protected, only the user may change it"])
        }
    }

    @Test(arguments: ["boot/Makefile", "boot/kernel.ld", "tests/acceptance/x.c", "specs.c", "include/harness.h"])
    func theAgentsSide(path: String) {
        #expect(violations(path, .modified) == [])
    }
}
