import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct BuildTests {
    @Test func theScaffoldBuilds() async throws {
        let kernel = try Temporary.kernel([:])
        let result = try await Build.run(in: kernel.path)
        #expect(result.succeeded, "\(result.diagnostics)")
        #expect(result.image == kernel.path.appending("build/kernel.elf"))
        #expect(result.failure == "")
    }

    @Test func errorsAreWholeAndInOneOrder() async throws {
        // The first file takes longer, so that its errors come last where nobody waits for them.
        let slow = (1...3_000).map { "typedef int t\($0);\n" }.joined()
        let kernel = try Temporary.kernel([
            "tests/a.c": slow + "int a = x;\nint aa = y;\n", "tests/b.c": "int b = z;\n",
        ])
        let result = try await Build.run(in: kernel.path)
        #expect(!result.succeeded)
        #expect(
            result.diagnostics.filter { $0.contains("error: ") } == [
                "tests/a.c:3001:9: error: 'x' undeclared here (not in a function)",
                "tests/a.c:3002:10: error: 'y' undeclared here (not in a function)",
                "tests/b.c:1:9: error: 'z' undeclared here (not in a function)",
            ])
        #expect(result.failure == "3 errors")
        #expect(!result.diagnostics.contains { $0.hasPrefix("make") })
        #expect(!result.diagnostics.contains { $0.contains(kernel.path.string) })
    }

    /// What is cut off is whole errors, and of many they are the first.
    @Test func ofManyErrorsTheFirstAreShown() async throws {
        let clashes = (1...9).map { "int f\($0);\nchar f\($0);\n" }.joined()
        let kernel = try Temporary.kernel(["tests/a.c": clashes])
        let result = try await Build.run(in: kernel.path)
        #expect(result.failure == "9 errors")
        #expect(result.diagnostics.count <= 21)
        #expect(result.diagnostics.first == "tests/a.c:2:6: error: conflicting types for 'f1'; have 'char'")
        #expect(result.diagnostics.contains { $0.contains("tests/a.c:1:5: note: previous declaration of 'f1'") })
        #expect(result.diagnostics.last?.hasSuffix("more lines]") == true)
        #expect(
            result.diagnostics.filter { $0.contains(" error: ") }.count
                == result.diagnostics.filter { $0.contains(" note: ") }.count)
    }

    /// However a rule was got past: the symbols tell.
    @Test(arguments: ["extern report_text\ndq report_text\n", "common report_bytes 256\n"])
    func whatIsPrivateToTheHarness(code: String) async throws {
        let kernel = try Temporary.kernel(["mm/x.asm": code])
        let result = try await Build.run(in: kernel.path)
        #expect(!result.succeeded)
        #expect(result.diagnostics.contains { $0.contains("these use what is private to the harness") }, "\(result.diagnostics)")
    }

    @Test func anotherMakefileIsNotTaken() async throws {
        let kernel = try Temporary.kernel(["GNUmakefile": "all:\n\tmkdir -p build; echo forged >build/kernel.elf\n"])
        let image = try await Build.run(in: kernel.path).image
        #expect(try Files.read(image).prefix(4) == [0x7f, 0x45, 0x4c, 0x46])
    }

    /// An image that leads out of the sandbox would be read by us, who are outside.
    @Test(arguments: [
        "mkdir -p build; ln -s /etc/passwd build/kernel.elf", "mkdir x; echo x >x/kernel.elf; ln -s x build", "true",
    ])
    func anImageThatIsNone(recipe: String) async throws {
        let tree = try Temporary()
        try tree.write(["Makefile": "all:\n\t\(recipe)\n"])
        try Worktree.handOver(tree.path)
        let result = try await Build.run(in: tree.path)
        #expect(!result.succeeded)
        #expect(result.failure == "make succeeded, but made no build/kernel.elf")
    }

    @Test func noMakefile() async throws {
        let tree = try Temporary()
        try Worktree.handOver(tree.path)
        let result = try await Build.run(in: tree.path)
        #expect(result.failure == "make ended with status 2")
        #expect(result.diagnostics.first?.contains("Makefile: No such file or directory") == true)
    }
}
