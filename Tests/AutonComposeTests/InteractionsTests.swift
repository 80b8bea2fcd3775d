import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

/// The corpus of planted interactions, put together by `auton-compose` as branches by hand: everything that is found is
/// blamed on the guilty, and where nothing is planted nothing is found.
@Suite struct InteractionsTests {
    private static let corpus = Program.package.appending("Tests/Interactions")
    /// All of them take minutes: `make interactions`.
    private static let some = ["global-lock"]
    private static let wanted = environment("AUTON_INTERACTIONS")
    static let names: [String] =
        switch wanted {
        case nil: some
        case "all": try! Files.list(corpus).filter { Files.isDirectory(corpus.appending($0)) }
        case let names?: names.split(separator: ",").map(String.init)
        }
    private static let planted = names.filter { !$0.hasPrefix("clean-") }

    /// What a case's `expect` says; README of the corpus has the words.
    private struct Expectation {
        var guilty: Set<String> = []
        /// `test NAME fails|hangs|panics`, `boot panics`, `bench NAME slower` or `masked NAME longer`.
        var shown: [[String]] = []

        init(_ text: String) {
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ").map(String.init)
                switch words[0] {
                case "guilty": guilty = Set(words.dropFirst())
                case "shows": shown.append(Array(words.dropFirst()))
                // What is wrong alone is an interaction too: company hides it.
                case "alone": shown.append(Array(words.dropFirst(2)))
                default: break
                }
            }
        }
    }

    private let directory = try! TemporaryDirectory()

    @Test(arguments: names) func isFoundAndBlamed(_ name: String) async throws {
        let place = Self.corpus.appending(name)
        let (workspace, tasks) = try await prepare(place)
        let outcome = try await compose(tasks, in: workspace)
        let expected = Expectation(try Files.readText(place.appending("expect")))
        #expect(outcome.status == (expected.guilty.isEmpty ? 0 : 1), "\(outcome.errors)")
        let found = try Mailbox.decode(Composition.self, from: Array(outcome.output.utf8))
        for interaction in found.interactions {
            // Who brought the test that shows it is named with the guilty.
            let owner = try await self.owner(of: interaction.test, among: tasks, in: workspace)
            #expect(
                Set(interaction.blamed ?? []) == expected.guilty.union(owner.map { [$0] } ?? []), "\(interaction.summary)")
        }
        for fact in expected.shown {
            #expect(found.interactions.contains { Self.agrees($0, fact) && Set($0.blamed ?? []) == expected.guilty }, "\(fact)")
        }
    }

    /// With one of the guilty left out nothing is to be found.
    @Test(.enabled(if: wanted != nil, "make interactions"), arguments: planted)
    func theOthersAreClean(_ name: String) async throws {
        let place = Self.corpus.appending(name)
        let (workspace, tasks) = try await prepare(place)
        let guilty = Expectation(try Files.readText(place.appending("expect"))).guilty
        let outcome = try await compose(tasks.filter { $0 != guilty.min() }, in: workspace)
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try Mailbox.decode(Composition.self, from: Array(outcome.output.utf8)).interactions == [])
    }

    private func compose(_ tasks: [String], in workspace: Workspace) async throws -> Outcome {
        try await Program.run(
            "auton-compose",
            tasks + ["--json", "--workspace", workspace.root.string, "--mailbox", directory["mailbox"].string])
    }

    private static func agrees(_ interaction: Interaction, _ fact: [String]) -> Bool {
        switch fact[0] {
        case "boot": interaction.test == "boot"
        case "masked": interaction.test == fact[1] && interaction.kind == .masked
        case "bench": interaction.test == fact[1] && interaction.kind == .speed
        default:
            interaction.test == fact[1] && (interaction.kind == .order) == (fact.last == "reversed")
                && (interaction.kind == .beside) == (fact.last == "beside")
                && (interaction.combined == .missing) == ["hangs", "panics"].contains(fact[2])
        }
    }

    private func owner(of test: String, among tasks: [String], in workspace: Workspace) async throws -> String? {
        let words = test.split(separator: ".").joined(separator: ", ")
        for task in tasks {
            let added = try await workspace.git.run("diff", "base", task)
            if added.contains("+KTEST(\(words))") || added.contains("+KBENCH(\(words))") { return task }
        }
        return nil
    }

    /// A workspace with the case's base and a branch for each task.
    private func prepare(_ place: FilePath) async throws -> (Workspace, [String]) {
        let source = directory["source"]
        _ = try await Command("cp", ["-r", Program.package.appending("kernel").string, source.string]).run()
        // The kernel's own tests take seconds a boot and a minute to build, and show none of what is planted.
        for name in ["build", "tests", "acceptance"] { try Files.removeTree(source.appending(name)) }
        let workspace = try await Workspace.open(directory["workspace"], from: source, origin: .kernel)
        let base = try await commit(place.appending("base.patch"), on: workspace.main(), in: workspace)
        #expect(try await workspace.git.moveBranch("base", to: base, from: ""))
        let tasks = try Files.list(place).filter { $0.hasSuffix(".patch") && $0 != "base.patch" }.map { String($0.dropLast(6)) }
        for task in tasks {
            let commit = try await commit(place.appending("\(task).patch"), on: base, in: workspace)
            #expect(try await workspace.git.moveBranch(task, to: commit, from: ""))
        }
        return (workspace, tasks.sorted())
    }

    private func commit(_ patch: FilePath, on parent: String, in workspace: Workspace) async throws -> String {
        let tree = try await workspace.worktree("patch", commit: parent)
        defer { try? tree.remove() }
        try await tree.git.run("apply", "--cached", patch.string)
        return try await workspace.git.run("commit-tree", tree.git.run("write-tree"), "-p", parent, input: "change")
    }
}
