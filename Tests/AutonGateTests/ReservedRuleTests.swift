import Testing

@testable import AutonGate

@Suite struct ReservedRuleTests {
    private func violations(_ path: String, _ lines: String...) -> [String] {
        var file = Change.File(path: path, status: .added, oldMode: 0, newMode: 0o100644)
        file.hunks = [Change.File.Hunk(added: lines)]
        return ReservedRule().violations(in: Change(files: [file]))
    }

    @Test func whatAnybodyMayWrite() {
        #expect(violations("include/string.h", "#define STRING_H", "#include \"harness.h\"", "int start_ktests;") == [])
        #expect(violations("lib/harness.c", "INIT(INIT_EARLY, probe);", "\tKASSERT(1);", "/* KASSERT #define */") == [])
    }

    @Test(arguments: ["include/internal.h", "include/harness.h", "lib/internal.h"])
    func aHeaderInTheHarnesssPlace(path: String) {
        #expect(violations(path) == ["\(path): has the name of a header of the harness"])
    }

    @Test(arguments: ["#define KASSERT(c)", " # undef KASSERT_EQ", "#define KTEST(a, b) static void f(void)", "#undef INIT"])
    func redefinedMacros(line: String) {
        #expect(violations("include/string.h", line) == ["include/string.h: redefines a macro of the harness"])
    }

    @Test func privateHeadersAndTables() {
        #expect(
            violations("lib/a.c", "#include \"../harness/internal.h\"") == ["lib/a.c: includes what is private to the harness"])
        #expect(violations("lib/a.c", "extern char __start_ktests[];") == ["lib/a.c: touches the harness's tables"])
        #expect(violations("lib/a.c", "__attribute__((section(\".auton.ktests\")))") == ["lib/a.c: touches the harness's tables"])
    }
}
