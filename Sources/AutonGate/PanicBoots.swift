import AutonKit
import SystemPackage

/// Boots of a kernel that was built, each of which is to end in one of its panics (`KPANIC`): the gate's `make panics`.
struct PanicBoots: Sendable {
    /// One more than a build has compilers: what comes before and after QEMU leaves a processor idle.
    private static let atOnce = 3

    var tree: FilePath
    /// suite.name
    var panics: [String]
    var machines: [Machine]
    var limits: RunLimits

    /// A panic that was not as it should be.
    struct Failure: Sendable {
        var line: String
        var evidence: [String]
    }

    /// In the order of machines and panics.
    func failures() async throws -> [Failure] {
        let boots = machines.flatMap { machine in panics.map { (machine, $0) } }
        return try await concurrently(boots, atOnce: Self.atOnce) { machine, panic in
            try await failure(of: panic, on: machine)
        }.compactMap { $0 }
    }

    private func failure(of panic: String, on machine: Machine) async throws -> Failure? {
        var boot = Boot(image: tree.appending(machine.image), machine: machine, seconds: limits.bootSeconds)
        boot.panic = panic
        let report = try await boot.run()
        let reason: String?
        switch report.ending {
        case .panic: reason = try difference(of: report, from: panic)
        // The harness says itself why.
        case .passed, .failed: reason = report.report.problems.isEmpty ? "no panic came" : report.report.problems[0]
        default: reason = report.failure
        }
        return reason.map { Failure(line: "\(panic) (\(machine.name)): \($0)", evidence: report.evidence) }
    }

    /// The lines of `acceptance/SUITE/NAME.panic` are on the console in their order, the last of them as its last line; where
    /// that is the panic's own, the report has the same reason.
    private func difference(of report: BootReport, from panic: String) throws -> String? {
        let name = "acceptance/\(panic.replacing(".", with: "/", maxReplacements: 1)).panic", file = tree.appending(name)
        guard Files.exists(file) else { return "there is no \(name)" }
        var lines = report.consoleLines[...]
        let last = lines.popLast() ?? "", expressions = try RegularExpression.list(in: file)
        for expression in expressions.dropLast() {
            guard let index = lines.firstIndex(where: expression.matches) else {
                return "no line of the console matches, where it should, \(expression.pattern)"
            }
            lines = lines[(index + 1)...]
        }
        if let expression = expressions.last, !expression.matches(last) {
            return "the last line does not match \(expression.pattern)"
        }
        let reason = report.report.panic ?? ""
        let isSaid = last.dropping("panic: ").map { $0 == reason || withoutProcessor($0) == reason } ?? !reason.isEmpty
        return isSaid ? nil : "the report says \(reason.isEmpty ? "nothing" : reason)"
    }

    /// `reason` of `cpu 2: reason`.
    private func withoutProcessor(_ text: String) -> String? {
        guard let rest = text.dropping("cpu ") else { return nil }
        let digits = rest.prefix { "0123456789".contains($0) }
        return digits.isEmpty ? nil : String(rest.dropFirst(digits.count)).dropping(": ")
    }
}

extension ELFImage {
    /// The `KPANIC`s that it has, suite.name, in order.
    var panics: [String] {
        globals.compactMap { $0.dropping("kpanic_")?.replacing("__", with: ".", maxReplacements: 1) }.sorted()
    }
}

extension Checklist {
    /// No panic of the base's is gone, and each is as the user wants it, with one processor and, where the demand has them,
    /// with several.
    mutating func checkPanics(
        of trial: Trial, base: TreeRecord?, in tree: FilePath, _ demand: BootDemand, _ limits: RunLimits
    ) async throws {
        if let gone = base?.panics.first(where: { !trial.panics.contains($0) }) {
            return add(CheckName.panics, failure: "\(gone) is gone")
        }
        guard !trial.panics.isEmpty else { return skip(CheckName.panics, because: "the kernel has none") }
        let more = demand.machines.filter { $0.path == .pvh && $0.processors > 1 }
        let machines = [Machine()] + more, left = trial.failedPanics == nil ? machines : more
        let boots = PanicBoots(tree: tree, panics: trial.panics, machines: left, limits: limits)
        let failures = try await (trial.failedPanics ?? []) + boots.failures()
        add(
            CheckName.panics,
            failure: failures.first.map { failures.count == 1 ? $0.line : "\($0.line), and \(failures.count - 1) more" },
            passed: Text.count(trial.panics.count, "panic") + " on " + machines.map(\.name).joined(separator: ", "),
            evidence: failures.first?.evidence ?? [])
    }
}
