import AutonKit
import AutonMessages
import SystemPackage

/// A change to the specimen, and what the gate must say of it: a file `NAME.patch` of the corpus.
///
/// A line says what the change does; after it come headers, and a patch that git apply takes. `Expect: CHECK: TEXT` names the
/// check that must refuse it and what its detail or evidence must contain, `Expect: accepted` that it is good. The others are
/// optional: the task's `Role`, `Paths` and `Accept`, `Seconds` for a boot, the `Boots` to be made, and in place of a patch a `Recipe` that the Makefile ends with, on both sides of a harmless change.
struct Mutant: Sendable, Equatable {
    enum Expectation: Sendable, Equatable {
        case accepted
        case refused(check: String, because: String)
    }

    var name: String
    var summary: String
    var expectation: Expectation
    var role = Role.developer
    var paths = ["boot/", "include/", "lib/", "tests/"]
    var accept = ["lib.*"]
    var seconds: Double?
    var boots: [Machine] = []
    var recipe: String?
    /// Empty if nothing is changed.
    var patch: String

    /// - Throws: `AutonError` with `.badConfiguration` if the text is none.
    init(name: String, parsing text: String) throws {
        self.name = name
        let start = text.firstRange(of: "\ndiff --git ")?.lowerBound ?? text.endIndex
        patch = String(text[start...].dropFirst())
        let lines = text[..<start].split(separator: "\n").map(String.init)
        summary = lines.first ?? ""
        var expectation: Expectation?
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmed }
            let value = parts.count > 1 ? parts[1] : ""
            switch parts[0] {
            case "Expect": expectation = Self.expectation(value)
            case "Role": role = try Role(rawValue: value) ?? Self.refuse(line, in: name)
            case "Paths": paths = value.split(separator: " ").map(String.init)
            case "Accept": accept = value.split(separator: " ").map(String.init)
            case "Seconds": seconds = try Double(value) ?? Self.refuse(line, in: name)
            case "Boots":
                boots = try value.split(separator: " ").map { try Machine(named: String($0)) ?? Self.refuse(line, in: name) }
            case "Recipe": recipe = value
            default: try Self.refuse(line, in: name) as Void
            }
        }
        self.expectation = try expectation ?? Self.refuse("no expectation", in: name)
    }

    private static func expectation(_ value: String) -> Expectation? {
        if value == "accepted" { return .accepted }
        let parts = value.split(separator: ":", maxSplits: 1).map { $0.trimmed }
        return CheckName.all.contains(parts.first ?? "") && parts.count == 2 ? .refused(check: parts[0], because: parts[1]) : nil
    }

    private static func refuse<T>(_ what: String, in name: String) throws -> T {
        throw AutonError(.badConfiguration, "the self-check's corpus has a mutant that cannot be read: \(what)", at: name)
    }

    /// What the change is said to be the work of.
    var task: TaskMessage {
        TaskMessage(
            PlannedTask(
                id: name, title: summary, role: role, subsystem: "lib", description: summary, paths: paths, accept: accept))
    }

    /// Why the gate is not to be trusted, after this judgement; nil if it is as it should be.
    func complaint(about judgement: Judgement) -> String? {
        let failed = judgement.checks.first { $0.status == .failed }
        let found = failed.map { "\($0.name): \($0.detail)" } ?? "accepted"
        switch expectation {
        case .accepted: return judgement.accepted ? nil : "is good, but refused by \(found)"
        case .refused(let check, let reason):
            guard let failed else { return "must be refused by \(check), but is accepted" }
            let words = [failed.detail] + failed.evidence
            if failed.name == check && words.contains(where: { $0.contains(reason) }) { return nil }
            return "must be refused by \(check): \(reason), but is by \(found)"
        }
    }
}

extension Substring {
    fileprivate var trimmed: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}
