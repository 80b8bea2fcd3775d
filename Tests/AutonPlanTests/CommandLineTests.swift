import AutonKit
import AutonMessages
import SystemPackage
import TestSupport
import Testing

/// What is typed wrong, and what is missing: one clear line, the documented status, nothing done.
@Suite struct CommandLineTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    @Test(
        arguments: [
            [], ["goal", "--from", "plan.json"], ["--replan", "goal"], ["--from", "x", "--replan"], ["--replan", "--publish"],
            ["--show", "tree"], ["--unknown"],
        ] as [[String]])
    func usageErrors(_ arguments: [String]) async throws {
        let outcome = try await Program.run("auton-plan", arguments, environment: scene.environment)
        #expect(outcome.status == 64 && outcome.output == "")
        #expect(outcome.errors.hasPrefix("auton-plan: "))
        #expect(!Files.exists(scene.directory["mailbox"]))
    }

    @Test(arguments: ["", " \n\t\n"])
    func anEmptyGoal(_ text: String) async throws {
        let refusal = Outcome(status: 64, errors: "auton-plan: the goal is empty\n")
        #expect(try await scene.plan("-", input: text) == refusal)
        #expect(try await scene.plan(text) == refusal)
        #expect(!Files.exists(scene.directory["mailbox"]))
    }

    @Test(arguments: [65_536, 65_537, 1_000_000])
    func anOversizedGoal(_ size: Int) async throws {
        let outcome = try await scene.plan("-", input: String(repeating: "x", count: size))
        // What fits gets as far as the model, who has nothing to say.
        #expect(outcome.status == (size == 65_536 ? 69 : 65))
        if size > 65_536 {
            #expect(outcome.errors == "auton-plan: the goal is over 65536 bytes; put the details in the kernel's spec\n")
            #expect(try scene.filed() == [:])
        }
    }

    @Test func aMissingRecordingListsWhatThereIs() async throws {
        for run in ["01-minimal-boot", "02-more"] { try Files.createDirectories(scene.directory["runs/\(run)/transcript"]) }
        let outcome = try await scene.plan("--model", "replay:03-none", "Build a kernel")
        #expect(
            outcome == Outcome(status: 78, errors: "auton-plan: no recording 03-none (there are: 01-minimal-boot, 02-more)\n"))
    }

    @Test func anUnknownTransportListsWhatThereIs() async throws {
        let outcome = try await scene.plan("--model", "telnet:x", "Build a kernel")
        #expect(
            outcome
                == Outcome(
                    status: 78,
                    errors:
                        "auton-plan: no such transport (there are replay:RUN, exec:COMMAND, file:DIR, https://SERVER and http://127.0.0.1:PORT): telnet:x\n"
                ))
        // The goal is not lost: with a model it is planned.
        #expect(try scene.mailbox.all(Goal.self).map(\.text) == ["Build a kernel"])
    }

    @Test func aServerWithoutAKey() async throws {
        let outcome = try await scene.plan("--model", "http://127.0.0.1:9", "Build a kernel")
        let ways = "set ANTHROPIC_API_KEY or model.key_file, or model.auth = \"none\" for a server that wants none"
        #expect(outcome == Outcome(status: 78, errors: "auton-plan: no API key: \(ways): http://127.0.0.1:9\n"))
    }

    @Test func withoutGitItSaysWhichPackageHasIt() async throws {
        let outcome = try await scene.plan("--from", scene.write(threeTasks), environment: ["PATH": "\(Program.directory)"])
        #expect(outcome == Outcome(status: 69, errors: "auton-plan: git is missing: install the package git, or run make deps\n"))
    }

    @Test func withoutLibcurlAServerIsNotAskedAndAllElseIsDone() async throws {
        try scene.directory.write("libcurl.so.4", "no library\n")
        let environment = ["LD_LIBRARY_PATH": scene.directory.path.string, "ANTHROPIC_API_KEY": "key"]
        let outcome = try await scene.plan("--model", "http://127.0.0.1:9", "Build a kernel", environment: environment)
        let how = "install the package libcurl4, or run make deps"
        #expect(outcome == Outcome(status: 69, errors: "auton-plan: libcurl.so.4 is missing: \(how)\n"))
        #expect(try await scene.plan("--from", scene.write(threeTasks), environment: environment).status == 0)
    }

    @Test func withoutAKernelTreeThereIsNoWorkspace() async throws {
        let outcome = try await scene.plan("--from", scene.write(threeTasks), "--kernel", "/nonexistent")
        #expect(outcome == Outcome(status: 78, errors: "auton-plan: no kernel tree: /nonexistent\n"))
        #expect(try scene.filed() == [:])
    }

    @Test func somethingElseWhereTheWorkspaceShouldBe() async throws {
        try scene.directory.write("workspace/precious", "keep")
        let outcome = try await scene.plan("--from", scene.write(threeTasks))
        #expect(outcome.status == 78 && outcome.errors.hasPrefix("auton-plan: not a workspace: "))
        #expect(try scene.directory.contents(of: "workspace") == ["precious": "keep"])
    }

    @Test func thePlanIsShownInThreeForms() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        #expect(
            try await scene.plan("--show", "table").output == """
                TASK    ROLE       AFTER          PATHS     TESTS   TITLE
                boot-b  developer  boot-a         boot/     boot.*  B "quoted"
                boot-a  developer                 boot/     boot.*  A
                boot-c  developer  boot-a,boot-b  boot/c.c  boot.*  C

                """)
        #expect(
            try await scene.plan("--show", "mermaid").output == """
                graph LR
                  boot-b["boot-b: B 'quoted'"]
                  boot-a["boot-a: A"]
                  boot-c["boot-c: C"]
                  boot-a --> boot-b
                  boot-a --> boot-c
                  boot-b --> boot-c

                """)
        #expect(
            try await scene.plan("--show", "dot").output == #"""
                digraph plan {
                  rankdir=LR; node [shape=box];
                  "boot-b" [label="boot-b\nB 'quoted'"];
                  "boot-a" [label="boot-a\nA"];
                  "boot-c" [label="boot-c\nC"];
                  "boot-a" -> "boot-b";
                  "boot-a" -> "boot-c";
                  "boot-b" -> "boot-c";
                }

                """#)
        #expect(try scene.mailbox.all(Plan.self).count == 1)
    }

    @Test(arguments: ["auton-plan", "auton-agent", "auton-merge", "auton-compose", "auton-status", "auton-validate"])
    func theManualTellsInputOutputAndStatus(_ program: String) async throws {
        let help = try await Program.run(program, ["--help"])
        #expect(help.status == 0 && help.errors == "")
        for word in [
            "OVERVIEW: ", "INPUT: ", "OUTPUT: ", "EXIT STATUS: 0 done; 1 judged and refused", "75 try again later",
            "78 bad configuration",
        ] {
            #expect(help.output.replacing("\n", with: " ").contains(word), "\(word)")
        }
    }
}
