import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// A kernel that was built, booted on further machines.
struct BootMatrix: Sendable {
    /// How it did on one.
    struct Boot: Sendable {
        var result: BootResult
        /// The lines that show a failure.
        var evidence: [String] = []
        /// Whether nothing is wrong but that tests failed.
        var mayBeChance = false
    }

    /// As many as a build has compilers.
    private static let atOnce = 2

    var tree: FilePath
    var trial: Trial
    /// The paths by which the base can be booted: none may be lost.
    var before: Set<Machine.Path>
    var limits: RunLimits

    /// The boots that are asked for beside the trial's own, in the order of the demand.
    ///
    /// What failed while others had the machine is booted once more, alone, and once more if they had it still; tests that failed beside a
    /// boot of ours are, too. On a machine that is ours, and one boot's, it has failed.
    func boots(_ demand: BootDemand) async throws -> [Boot] {
        let machines = demand.machines.filter { $0 != Machine() }
        let others = OthersShare()
        var boots = try await concurrently(machines, atOnce: Self.atOnce) { try await boot(on: $0, demand) }
        guard boots.contains(where: { $0.result.outcome == .failed }) else { return boots }
        let excuse = others.excuse, besideOurs = machines.count > 1 ? BootReport.besideOurs : nil
        for (index, machine) in machines.enumerated() where boots[index].result.outcome == .failed {
            let first = boots[index].result.detail
            var excuse = excuse ?? (boots[index].mayBeChance ? besideOurs : nil)
            for go in OthersShare.goes {
                guard let because = excuse else { break }
                let others = OthersShare()
                boots[index] = try await boot(on: machine, demand)
                excuse = others.excuse
                if boots[index].result.outcome == .passed {
                    boots[index].result.detail = "at the \(go) go, \(because); at first: \(first)"
                    break
                }
            }
        }
        return boots
    }

    private func boot(on machine: Machine, _ demand: BootDemand) async throws -> Boot {
        let start = ContinuousClock.now
        func finish(_ outcome: Check.Status, _ detail: String = "", evidence: [String] = []) -> Boot {
            let seconds = outcome == .skipped ? 0 : (start.duration(to: .now).seconds * 1000).rounded() / 1000
            return Boot(
                result: BootResult(name: machine.name, outcome: outcome, seconds: seconds, detail: detail), evidence: evidence)
        }
        do {
            if let reason = try absence(of: machine.path) {
                return finish(before.contains(machine.path) || demand != .available ? .failed : .skipped, reason)
            }
            if machine.path == .iso, let missing = Tools.missingForGRUB {
                guard demand == .available else { throw missing }
                return finish(.skipped, missing.description)
            }
            if machine.path == .iso {
                let build = try await Build.iso(in: tree, limits: limits)
                guard build.succeeded else { return finish(.failed, "make iso: \(build.failure)", evidence: build.diagnostics) }
            }
            let image = tree.appending(machine.image)
            guard Files.type(of: image) == S_IFREG else { return finish(.failed, "make made no \(machine.image)") }
            var boot = AutonGate.Boot(image: image, machine: machine, seconds: limits.bootSeconds)
            boot.oversight = try Oversight(of: tree.appending(Machine().image), on: machine)
            let report = try await boot.run()
            if let failure = report.failure ?? report.intrusion ?? difference(of: report, on: machine) {
                var boot = finish(.failed, failure, evidence: report.evidence)
                boot.mayBeChance = report.mayBeChance && report.intrusion == nil
                return boot
            }
            let absent = try ExpectedLines(in: tree)?.absent(from: report.consoleLines) ?? []
            return absent.isEmpty
                ? finish(.passed) : finish(.failed, "no line of the console matches \(absent[0])", evidence: report.evidence)
        } catch let error as AutonError
            where error.status == .unavailable && demand == .available && machine.memory > Machine().memory
        {
            // QEMU did start with less: that much memory is not to be had.
            return finish(.skipped, error.what)
        }
    }

    /// What its tests say there that they do not say in the trial: the same ones run everywhere, and what passes there
    /// passes here. With less memory a test may be skipped that needs more.
    private func difference(of report: BootReport, on machine: Machine) -> String? {
        let here = Dictionary(report.report.tests.map { ($0.name, $0.outcome) }, uniquingKeysWith: { first, _ in first })
        let there = trial.boot.report.tests
        if let absent = there.first(where: { here[$0.name] == nil }) { return "\(absent.name) did not run" }
        if here.count > there.count { return "other tests than by \(Machine().name)" }
        let mayLack = machine.memory < Machine().memory
        let lost = there.first { $0.outcome == .ok && here[$0.name] != .ok && !(mayLack && here[$0.name] == .skip) }
        return lost.map { "\($0.name) was skipped, and passes by \(Machine().name)" }
    }

    /// Why the tree cannot be booted by that path, or not yet; nil if it says that it can.
    private func absence(of path: Machine.Path) throws -> String? {
        switch path {
        case .pvh: return nil
        case .disk:
            let sources = try Files.list(tree.appending("boot/disk")).contains { $0.hasSuffix(".asm") }
            return sources ? nil : "the tree has no boot/disk sources"
        case .iso:
            return trial.hasMultiboot2 ? nil : "the tree has no Multiboot2 header"
        }
    }
}

extension Trial {
    /// The trial's own boot, as one of the matrix.
    var bootResult: BootResult {
        BootResult(
            name: Machine().name, outcome: boot.failure == nil ? .passed : .failed,
            seconds: (boot.seconds * 1000).rounded() / 1000, detail: boot.failure ?? "")
    }
}

extension Checklist {
    /// The kernel does the same on every machine that is asked for.
    ///
    /// - Returns: all boots, the trial's own first.
    mutating func checkBoots(_ matrix: BootMatrix, demand: BootDemand) async throws -> [BootResult] {
        let boots = try await matrix.boots(demand)
        let results = boots.map(\.result)
        let failed = boots.filter { $0.result.outcome == .failed }
        if boots.contains(where: { $0.result.outcome != .skipped }) {
            let passed = results.filter { $0.outcome == .passed }.map {
                $0.detail.isEmpty ? $0.name : "\($0.name) (\($0.detail))"
            }.joined(separator: ", ")
            let skipped = results.filter { $0.outcome == .skipped }.map { "\($0.name) skipped: \($0.detail)" }
            add(
                CheckName.boots, failure: failed.first.map { "\($0.result.name): \($0.result.detail)" },
                passed: ([passed] + skipped).joined(separator: "; "),
                evidence: failed.flatMap { boot in
                    ["\(boot.result.name): \(boot.result.detail)"] + boot.evidence.map { "  " + $0 }
                })
        } else {
            let reasons = results.map { "\($0.name): \($0.detail)" }.joined(separator: "; ")
            skip(CheckName.boots, because: reasons.isEmpty ? "none but \(Machine().name) is asked for" : reasons)
        }
        return [matrix.trial.bootResult] + results
    }
}
