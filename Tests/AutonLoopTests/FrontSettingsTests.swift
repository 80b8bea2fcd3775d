import AutonKit
import AutonMessages
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Where the settings and the API key get to, through the real front and the real programs.
@Suite struct FrontSettingsTests {
    private static let secret = "sk-ant-secret-0123456789"

    private func finish(_ command: Command) async throws -> Outcome {
        let result = try await command.run()
        guard case .exited(let status) = result.ending else { throw AutonError(.bug, "ended with \(result.ending)") }
        return Outcome(status: status, output: result.output.text, errors: result.errors.text)
    }

    @Test func theLoopIsAsTheFileSays() async throws {
        let run = try await LoopRun()
        try run.directory.write(
            "auton.toml",
            """
            [model]
            uri = "exec:sh input/model"
            [team]
            developers = 6
            [paths]
            mailbox = "a box"
            workspace = "work"
            """)
        var plan = run.command("plan", "--from", "input/plan.json")
        plan.environment["AUTON_MODEL"] = nil
        #expect(try await finish(plan).status == 0)
        // In place of carrying a task it says what it was given.
        try run.directory.write("launch", "echo \"$MAKEFLAGS $AUTON_MAILBOX $AUTON_WORKSPACE $AUTON_MODEL\" >>seen; exit 1\n")
        var loop = run.command("run")
        loop.environment["AUTON_MODEL"] = nil
        loop.environment["LAUNCH"] = "sh launch"
        loop.environment["AUTON_WORKSPACE"] = "elsewhere"
        #expect(try await finish(loop).status == ExitStatus.tryAgain.rawValue)
        let seen = try run.directory.read("seen")
        #expect(seen.contains("-j6") && seen.contains(" a box elsewhere exec:sh input/model\n"), "\(seen)")
        #expect(
            try Files.list(run.directory.path).filter { !$0.hasPrefix("seen") } == [
                "a box", "auton.toml", "input", "launch", "work",
            ])
    }

    @Test func aBadFileStopsItBeforeItDoesAnything() async throws {
        let run = try await LoopRun()
        let text = "[team]\ndevelopers = 2\n"
        try run.directory.write("auton.toml", text)
        let before = try run.directory.contents()
        for words in [["run"], ["replay"], ["watch"], ["record", "x"], ["boot"]] {
            let outcome = try await run.auton(words)
            #expect(outcome.status == 78 && outcome.output == "")
            #expect(outcome.errors == "auton-config: auton.toml:2:1: team.developers must be an integer from 3 to 6, not 2\n")
        }
        #expect(try await run.auton("--help").status == 0)
        #expect(try run.directory.contents() == before)
    }

    /// Every program of ours, make and the shells between write down their environment and what they could read of descriptor 7.
    @Test func whoDoesNotAskTheModelHasNoKey() async throws {
        let run = try await LoopRun()
        let programs = ["plan", "agent", "validate", "merge", "compose", "status", "answer", "config"].map { "auton-\($0)" }
        for name in programs + ["make", "setpriv", "git", "bwrap"] {
            let real = programs.contains(name) ? Program.directory.appending(name) : try #require(Tools.find(name))
            let look = "env >>seen.$name; cat /proc/self/fd/7 >>open.$name 2>/dev/null"
            try run.directory.write(
                "bin/\(name)", "#!/bin/sh\n(cd '\(run.directory.path)'; name=\(name); \(look))\nexec '\(real)' \"$@\"\n")
            chmod(run.directory["bin"].appending(name).string, 0o755)
        }
        func auton(_ arguments: String...) async throws -> Outcome {
            var command = run.command()
            command.arguments += arguments
            command.environment["PATH"] = "\(run.directory["bin"]):\(environment("PATH") ?? "")"
            command.environment["AUTON_BIN"] = run.directory["bin"].string
            command.environment["AUTON_MAILBOX"] = "mailbox"
            command.environment["AUTON_MODEL"] = "exec:env >>seen.model; cat <&7 >>open.model 2>/dev/null; sh input/model"
            command.environment["ANTHROPIC_API_KEY"] = Self.secret
            command.environment["ANTHROPIC_AUTH_TOKEN"] = Self.secret
            // Were these taken for the front's own, they would stay in the environment.
            command.environment["api_key"] = "x"
            command.environment["auth_token"] = "x"
            return try await finish(command)
        }
        func having(_ prefix: String) throws -> [String] {
            try run.directory.contents().filter { $0.key.hasPrefix(prefix) && $0.value.contains(Self.secret) }.keys.sorted()
        }
        let one = "cd \(run.directory.path) && jq '{goal, tasks: .tasks[:1]}' input/plan.json >one"
        #expect(try await Program.run("sh", ["-c", one]).status == 0)
        #expect(try await auton("plan", "--from", "one").status == 0)
        #expect(try await auton("config").output.hasSuffix("\n# API key: environment ANTHROPIC_API_KEY\n"))
        #expect(try await auton("answer", "list").status == 0)
        #expect(try having("") == ["seen.auton-config", "seen.auton-plan"])
        unlink(run.directory["seen.auton-plan"].string)
        unlink(run.directory["seen.auton-config"].string)

        #expect(try await auton("run").status == 0)
        #expect(try having("seen.") == [])
        for name in [
            "auton-agent", "auton-validate", "auton-merge", "auton-compose", "auton-status", "make", "setpriv", "git", "bwrap",
        ] {
            #expect(try run.directory.read("seen.\(name)").contains("PATH="), "\(name) was not run")
        }
        #expect(try run.directory.read("seen.model").contains("AUTON_TURN=1"))
        let asking = [
            "open.auton-agent", "open.auton-config", "open.auton-plan", "open.auton-status", "open.make", "open.setpriv",
        ]
        let open = try having("open.")
        #expect(Set(open).isSubset(of: asking))
        #expect(open.contains("open.auton-agent"))
        #expect(try having("mailbox") + having("workspace") == [])
    }

    /// The loop's make and a kernel's have variables of their own of the same names.
    @Test func whatIsSaidToTheFrontIsNotSaidToTheMakesInside() async throws {
        let run = try await LoopRun(), directory = run.directory.path
        func make(_ target: String, _ words: String...) async throws -> Int32 {
            var command = run.command()
            command.program = "make"
            command.arguments = [
                "-C", Program.package.string, target, "WORKSPACE=\(directory)/work", "LAUNCH=sh \(directory)/launch",
            ]
            command.arguments += words
            command.environment["PATH"] = "\(run.directory["bin"]):\(environment("PATH") ?? "")"
            command.environment["SEEN"] = run.directory["seen"].string
            return try await finish(command).status
        }
        try run.directory.write("bin/swift", "#!/bin/sh\n")
        chmod(run.directory["bin/swift"].string, 0o755)
        try run.directory.write(
            "a kernel/Makefile",
            "KERNEL := own\nMEM := 128\nAPPEND :=\nall boot iso: ; @echo '$@ $(KERNEL) $(MEM) $(APPEND)' >>$$SEEN\n")
        #expect(try await make("kernel", "KERNEL=\(directory)/a kernel") == 0)
        #expect(try await make("boot", "KERNEL=\(directory)/a kernel", "MEM=256", "APPEND=a  b\\") == 0)
        #expect(
            try run.directory.read("seen").split(separator: "\n").filter { $0 != "iso own 128 " } == [
                "all own 128 ", "boot own 256 a  b\\",
            ])

        #expect(try await run.auton("plan", "--from", "input/plan.json", "--mailbox", "a box").status == 0)
        // Whoever is merged is not carried again.
        try Mailbox(run.directory["a box"]).file(
            Merge(task: "lib-001", attempt: 1, candidate: "", commit: "", tree: "", baseTree: "", tests: []))
        try run.directory.write("launch", "echo $3 >>$SEEN; exit 1\n")
        try run.directory.write("seen", "")
        #expect(try await make("run", "MAILBOX=\(directory)/a box", "MODEL=exec:exit 1") == 2)
        #expect(try run.directory.read("seen").split(separator: "\n").sorted() == (2...6).map { "lib-00\($0)" })
    }

    /// What make starts beside the front, such as the compilers, has no key.
    @Test func makeGivesTheKeyToTheFrontAlone() async throws {
        let run = try await LoopRun()
        try run.directory.write("bin/swift", "#!/bin/sh\nenv >>\"$SEEN\"\n")
        chmod(run.directory["bin/swift"].string, 0o755)
        func make(_ target: String) async throws -> CommandResult {
            var command = run.command()
            command.program = "make"
            command.arguments = ["-C", Program.package.string, target]
            command.environment["PATH"] = "\(run.directory["bin"]):\(environment("PATH") ?? "")"
            command.environment["SEEN"] = run.directory["seen"].string
            command.environment["AUTON_MAILBOX"] = run.directory["mailbox"].string
            command.environment["AUTON_WORKSPACE"] = run.directory["workspace"].string
            command.environment["AUTON_MODEL"] = nil
            command.environment["ANTHROPIC_BASE_URL"] = "http://127.0.0.1:1"
            command.environment["AUTON_MODEL_RETRIES"] = "0"
            command.environment["ANTHROPIC_API_KEY"] = Self.secret
            command.environment["GOAL"] = "Count"
            return try await command.run()
        }
        _ = try await make("status")
        // It got there: with no key nobody would be asked.
        let ran = try await make("run")
        #expect((ran.output.text + ran.errors.text).contains("Failed to connect to 127.0.0.1 port 1 "))
        let seen = try run.directory.read("seen")
        #expect(seen.contains("GOAL=Count") && !seen.contains(Self.secret))
    }

    @Test func theSandboxsLimitsReachTheAgentsTools() async throws {
        let run = try await LoopRun()
        #expect(try await run.auton("plan", "--from", "input/plan.json").status == 0)
        try run.directory.write(
            "auton.toml",
            """
            sandbox = { seconds = 7, max_seconds = 9, memory_mib = 300, output_kib = 5 }
            roles.architect.turns = 17
            model.max_tokens = 12345
            """)
        var agent = run.command("agent", "lib-001")
        agent.environment["AUTON_MODEL"] = "exec:cat >request; sh input/model"
        #expect(try await finish(agent) == Outcome(status: 0, output: "task/lib-001.1\n"))
        let request = try run.directory.read("request")
        for part in [#""maximum":9,"#, "Wall time limit; 7 if left out", "12345", "17 turns", "300 MiB"] {
            #expect(request.contains(part), "\(part)")
        }
    }

    @Test func reviewsWaitForASeat() async throws {
        let run = try await LoopRun()
        for arguments in [
            ["plan", "--from", "input/plan.json"], ["agent", "lib-001"], ["validate", "lib-001"],
            ["agent", "--role", "reviewer", "lib-001"], ["merge", "lib-001"], ["agent", "lib-004"], ["validate", "lib-004"],
            ["agent", "lib-005"], ["validate", "lib-005"],
        ] {
            #expect(try await run.auton(arguments).status == 0, "\(arguments)")
        }
        func review(_ task: String) async throws -> Int32 {
            var command = run.command("agent", "--role", "reviewer", "--set", "team.reviewers=1", task)
            command.environment["AUTON_MODEL"] = "exec:echo begin >>reviews; sleep 0.5; echo end >>reviews; sh input/model"
            return try await finish(command).status
        }
        async let one = review("lib-004")
        async let other = review("lib-005")
        #expect(try await [one, other] == [0, 0])
        #expect(try run.directory.read("reviews") == "begin\nend\nbegin\nend\n")
    }
}
