import AutonKit
import AutonMessages
import SystemPackage

/// A tree that is built and booted.
struct Trial: Sendable {
    var build: BuildResult
    /// Nil if there was nothing to boot.
    var boot: BootReport?

    static func run(in directory: FilePath, limits: RunLimits) async throws -> Trial {
        let build = try await Build.run(in: directory, limits: limits)
        let boot = Boot(image: build.image, seconds: limits.bootSeconds)
        return Trial(build: build, boot: build.succeeded ? try await boot.run() : nil)
    }

    /// Nil if all is well.
    var failure: String? {
        guard let boot else { return "build: \(build.failure)" }
        return boot.failure.map { "boot: \($0)" }
    }
}

extension Checklist {
    /// Builds and boots the tree in `directory`; the boot if it was good.
    mutating func buildAndBoot(_ directory: FilePath, limits: RunLimits) async throws -> BootReport? {
        let build = try await Build.run(in: directory, limits: limits)
        add(CheckName.build, failure: build.succeeded ? nil : build.failure, evidence: build.diagnostics)
        guard build.succeeded else { return nil }
        let boot = try await Boot(image: build.image, seconds: limits.bootSeconds).run()
        let passed = boot.report.names(.ok).count, skipped = boot.report.names(.skip).count
        add(
            CheckName.boot, failure: boot.failure,
            passed: Text.count(passed, "test") + " passed" + (skipped > 0 ? ", \(skipped) skipped" : ""),
            evidence: boot.evidence)
        return boot
    }
}

extension BootReport {
    private static let lines = 20

    /// What shows a bad boot, in about as many lines as one reads: why it ended, what is wrong with the report, what the
    /// tests said that did not pass, and the last that the kernel printed.
    var evidence: [String] {
        let bad = report.tests.filter { $0.outcome == .notOk || $0.outcome == .missing }
        let tests = bad.flatMap { test in
            ["\(test.outcome == .missing ? "no result" : "not ok"): \(test.name)"] + test.diagnostics.map { "  " + $0 }
        }
        let problems = ending == .passed || ending == .failed ? report.problems.map { "report: \($0)" } : []
        let console = consoleLines
        var lines = Text.head(diagnosis, 10) + Text.head(problems, 3)
        // The console has at least five lines, if there are so many; heading and omissions have theirs.
        lines += Text.head(tests, Self.lines - lines.count - min(console.count, 5) - 3)
        let room = Self.lines - lines.count - 2
        return lines
            + (console.isEmpty ? ["console: nothing printed"] : ["console:"] + Text.tail(console, room).map { "  " + $0 })
    }
}
