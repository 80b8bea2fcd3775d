import AutonKit
import SystemPackage
import Testing

@testable import AutonGate

@Suite struct SelfCheckTests {
    private static let corpus = Scaffold.package.appending("data/self-check")

    private func check(_ corpus: FilePath = corpus, kernel: FilePath = Scaffold.kernel) throws -> SelfCheck {
        try SelfCheck(corpus: corpus, kernel: kernel)
    }

    /// Whichever check is disabled, the self-check finds it out, by the first of the mutants that are there for it.
    @Test func aCheckThatIsBlindIsFoundOut() async throws {
        var check = try check()
        check.isBlind = true
        var expected: [String: String] = [:]
        for mutant in check.mutants.reversed() {
            if case .refused(let name, _) = mutant.expectation { expected[name] = mutant.name }
        }
        #expect(Set(expected.keys) == Set(CheckName.all))
        let complaints = Dictionary(
            uniqueKeysWithValues: try await check.run(Set(expected.values)).map { ($0.mutant, $0.complaint ?? "") })
        for (name, mutant) in expected {
            #expect(complaints[mutant]?.hasPrefix("must be refused by \(name)") == true, "\(mutant)")
        }
    }

    /// Refused, but by another check than the one that is there for it.
    @Test func theRightReasonCounts() async throws {
        let corpus = try copy()
        let patch = corpus.path.appending("fails.patch")
        try Files.write(
            patch, Array(try Files.readText(patch).replacing("Expect: boot: lib.sum", with: "Expect: build: error").utf8),
            sync: false)
        let findings = try await check(corpus.path).run(["fails"])
        #expect(
            findings.map(\.complaint) == [
                "must be refused by build: error, but is by boot: 2 tests failed: lib.sum, lib.sum_grows"
            ])
    }

    @Test func aGoodKernelThatIsRefused() async throws {
        let corpus = try copy()
        let patch = corpus.path.appending("good-change.patch")
        try Files.write(patch, Array(try Files.readText(patch).replacing("/ 2 * n", with: "/ 3 * n").utf8), sync: false)
        let complaint = try await check(corpus.path).run(["good-change"]).first?.complaint
        #expect(complaint?.hasPrefix("is good, but refused by boot: ") == true)
    }

    @Test(arguments: [
        ("Rloe: tester", "Rloe: tester"), ("Role: king", "Role: king"), ("Seconds: soon", "Seconds: soon"),
        ("", "no expectation"), ("Expect: boot", "no expectation"), ("Expect: bot: hang", "no expectation"),
    ])
    func aMutantThatCannotBeRead(header: String, what: String) throws {
        let expected = "the self-check's corpus has a mutant that cannot be read: \(what): odd"
        #expect {
            try Mutant(name: "odd", parsing: "Does something.\n\n\(header)\n\ndiff --git a/x b/x\n")
        } throws: {
            "\($0)" == expected
        }
    }

    @Test func aCorpusWithoutAMutantForACheck() throws {
        let corpus = try copy()
        for name in try Files.list(corpus.path) where try mentions("Expect: files:", corpus.path.appending(name)) {
            try Files.removeTree(corpus.path.appending(name))
        }
        #expect { try check(corpus.path) } throws: { "\($0)".contains("the corpus has no mutant for files") }
        #expect { try check("/nonexistent") } throws: { "\($0)" == "no corpus of mutants: /nonexistent" }
    }

    private static let other = "#include \"sum.h\"\n\nuint64_t sum(uint64_t n) { return n; }\n"

    @Test func aPatchThatDoesNotApply() async throws {
        let corpus = try copy()
        try Files.write(corpus.path.appending("specimen/lib/sum.c"), Array(Self.other.utf8), sync: false)
        await #expect { try await check(corpus.path).run(["fails"]) } throws: {
            "\($0)".hasPrefix("the self-check's mutant does not apply: error: ") && "\($0)".hasSuffix(": fails")
        }
    }

    private func mentions(_ text: String, _ file: FilePath) throws -> Bool {
        try !Files.isDirectory(file) && Files.readText(file).contains(text)
    }

    private func copy() throws -> Temporary {
        let copy = try Temporary()
        try Files.copyTree(Self.corpus, to: copy.path)
        return copy
    }
}
