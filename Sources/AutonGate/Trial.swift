import AutonKit
import AutonMessages
import SystemPackage

/// A tree that was built, booted and measured.
struct Trial: Sendable {
    /// The image's digest.
    var image: String
    /// The boot that the tests are judged by.
    var boot: BootReport
    /// Nil unless they are to be believed.
    var counts: InstructionCounts?
    /// Empty if they cannot be read.
    var sections: [SectionSize]
    var hasMultiboot2: Bool
    /// What the kernel has to end in a panic, suite.name, in order.
    var panics: [String]
    /// Those that did not on a machine with one processor; nil if they have not been booted yet.
    var failedPanics: [PanicBoots.Failure]?

    /// What is kept of one that was good; nil if it was not.
    var record: TreeRecord? {
        counts.map { TreeRecord(image: image, tests: boot.report.tests, counts: $0, sections: sections, panics: panics) }
    }
}

extension Checklist {
    /// Builds, boots and measures the tree in `directory`; nil if it does not build.
    ///
    /// Time passes in the first boot as on any machine, and that one is believed of the tests, and looked on from outside: in the two that count
    /// instructions, at once after it, no interrupt comes at another place than before, so that a kernel could pass there
    /// that fails now and then everywhere else. What one image takes in instructions is always the same: it is not measured
    /// again if it is known. What is to end in a panic is booted where a processor has nothing to do meanwhile.
    ///
    /// - Parameters:
    ///   - known: what was seen of this tree before; nil for nothing.
    ///   - expectsFailure: measure only what has booted well; else all boots are begun at once, which takes less time.
    ///   - isBase: its panics are not of interest.
    ///   - changed: the files of the tree that are other ones now: an assembler can write them. Asked once it is built.
    mutating func buildAndBoot(
        _ directory: FilePath, known: TreeRecord? = nil, expectsFailure: Bool = false, isBase: Bool = false, limits: RunLimits,
        changed: () async throws -> [String] = { [] }
    ) async throws -> Trial? {
        let build = try await Build.run(in: directory, limits: limits)
        let elf = build.succeeded ? ELFImage(try Files.read(build.image)) : nil
        let sizes = elf?.sizes ?? []
        let changed = build.succeeded ? try await changed() : []
        let fault = try elf.map { try $0.fault ?? Shadows.fault(of: $0, in: directory) } ?? "the image cannot be read"
        add(
            CheckName.build,
            failure: build.succeeded ? changed.first.map { "it changes \(Text.path($0))" } ?? fault : build.failure,
            passed: sizes.isEmpty ? "" : "\(Text.grouped(sizes.reduce(0) { $0 + ($1.bytes >> 10) })) KiB",
            evidence: build.succeeded ? changed : build.diagnostics)
        guard build.succeeded, changed.isEmpty, fault == nil else { return nil }
        let digest = try await Tools.digest(of: build.image)
        let isKnown = known?.image == digest
        let measure = { @Sendable in try await Measurement.take(of: build.image, seconds: limits.bootSeconds) }
        let isBeside = !isKnown && !expectsFailure
        // Ended with this function if nobody asks for it.
        async let begun = isBeside ? measure() : nil
        let others = OthersShare()
        let watched = { @Sendable in
            try await isKnown
                ? Boot(image: build.image, seconds: limits.bootSeconds).run()
                : .ofWatched(build.image, seconds: limits.bootSeconds)
        }
        var boot = try await watched(), excuse = ""
        if boot.mayBeChance {
            var reason = others.excuse
            // Our own boots have the machine, too: who passes there, twice and the same way, is asked once more when they are over.
            if reason == nil && isBeside, try await begun?.failure == nil {
                reason = BootReport.besideOurs
            }
            (boot, excuse) = try await boot.again(because: reason, watched)
        }
        let passed = boot.report.names(.ok).count, skipped = boot.report.names(.skip).count
        add(
            CheckName.boot, failure: boot.failure,
            passed: Text.count(passed, "test") + " passed" + (skipped > 0 ? ", \(skipped) skipped" : "")
                + (excuse.isEmpty ? "" : "; \(excuse)"),
            evidence: boot.evidence)
        let panics = elf?.panics ?? [], expectsPanics = !hasFailed && boot.intrusion == nil && !expectsFailure && !isBase
        async let failedPanics =
            expectsPanics
            ? PanicBoots(tree: directory, panics: panics, machines: [Machine()], limits: limits).failures() : nil
        var counts: InstructionCounts?
        if let known, isKnown, !hasFailed {
            counts = known.counts
            skip(CheckName.origin, because: Self.sameImage)
            skip(CheckName.counters, because: Self.sameImage)
        } else if !hasFailed {
            let impostor = try elf.flatMap { try AcceptanceTests.impostors(in: $0, tree: directory).first }
            let intrusion = boot.intrusion ?? impostor.map { "\($0) is not the acceptance test of that name" }
            var measurement = try await intrusion == nil ? begun : nil
            if intrusion == nil && expectsFailure { measurement = try await measure() }
            add(
                CheckName.origin, failure: intrusion ?? measurement?.intrusion,
                passed: "the harness was seen to send it all, and to be left alone", evidence: boot.tampering)
            if let measurement {
                counts = measurement.counts
                let tests = Text.count(measurement.counts.tests.count, "test")
                add(
                    CheckName.counters, failure: measurement.failure,
                    passed: "\(tests) and \(Text.count(measurement.counts.benches.count, "benchmark")), twice the same"
                        + (measurement.doubt.map { "; not so when booted before: \($0)" } ?? ""),
                    evidence: measurement.evidence)
            }
        }
        return Trial(
            image: digest, boot: boot, counts: hasFailed ? nil : counts, sections: sizes,
            hasMultiboot2: elf?.hasMultiboot2 ?? false, panics: panics, failedPanics: hasFailed ? nil : try await failedPanics)
    }

    /// Why a check was skipped that the same image has passed.
    private static let sameImage = "the image is the one that was measured before"

    /// A tree that was built before gave the same image then, whenever and wherever that was; one that was not gives it again.
    ///
    /// - Parameter again: the second build; nil if it was built before.
    mutating func checkReproducible(
        _ record: TreeRecord, before: TreeRecord?, again: Task<Result<String, SecondBuild.Failure>, any Error>?
    ) async throws {
        if let before {
            return add(
                CheckName.reproducible,
                failure: before.image == record.image ? nil : "another image than when it was built before",
                passed: "the image is the one that was built before", evidence: ["then: \(before.image)", "now: \(record.image)"])
        }
        switch try await again?.value {
        case .success(let image):
            add(
                CheckName.reproducible, failure: image == record.image ? nil : "another image when it was built twice",
                passed: "built twice, one image", evidence: ["first: \(record.image)", "then: \(image)"])
        case .failure(let failure):
            add(CheckName.reproducible, failure: "it does not build twice: \(failure.line)")
        case nil: skip(CheckName.reproducible, because: "not built before")
        }
    }
}

extension BootReport {
    /// The boot that tests are judged by. What they failed in while others had the machine they may do again.
    ///
    /// - Returns: the boot, and what is to be said of it if it is not the first.
    package static func believed(_ boot: () async throws -> BootReport) async throws -> (BootReport, excuse: String) {
        let others = OthersShare(), first = try await boot()
        return try await first.again(because: others.excuse, boot)
    }

    /// Why tests pass then that have failed by the clock while another boot of ours had the machine, too.
    static let besideOurs = "when nothing was beside it"

    /// Whether nothing is wrong but that tests failed.
    var mayBeChance: Bool { ending == .failed && report.problems.isEmpty }

    /// The same once more, if there is a reason and it goes well then; else this one. And again, if others had the machine then.
    func again(because reason: String?, _ boot: () async throws -> BootReport) async throws -> (BootReport, excuse: String) {
        var reason = mayBeChance ? reason : nil
        for go in OthersShare.goes {
            guard let because = reason else { break }
            let others = OthersShare(), next = try await boot()
            if next.failure == nil && next.intrusion == intrusion {
                return (next, "at the \(go) go, \(because); at first: \(failure ?? "")")
            }
            reason = next.mayBeChance ? others.excuse : nil
        }
        return (self, "")
    }

    /// A boot that is looked on from outside of the machine.
    static func ofWatched(_ image: FilePath, seconds: Double) async throws -> BootReport {
        var boot = Boot(image: image, seconds: seconds)
        boot.oversight = try Oversight(of: image, on: boot.machine)
        return try await boot.run()
    }

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
