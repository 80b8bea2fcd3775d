import AutonKit

extension Settings {
    /// What the gate asks of a kernel.
    package struct GateSettings: Sendable {
        package var boots = BootDemand.named([Machine()])
        package var mergeBoots = BootDemand.available
        package var slower = 5.0

        /// Of a candidate.
        package var demands: GateDemands {
            var demands = GateDemands()
            demands.boots = boots
            demands.slower = slower
            return demands
        }

        /// Of what is to become main.
        package var mergeDemands: GateDemands {
            var demands = demands
            demands.boots = mergeBoots
            return demands
        }
    }
}

extension Setting {
    static let gate: [Setting] = [
        Setting(
            "gate.boots", \.gate.boots,
            "The machines that a candidate must boot on; its tests are judged by pvh in any case."),
        Setting("gate.merge_boots", \.gate.mergeBoots, "The machines that a merge must boot on."),
        Setting(
            "gate.slower", \.gate.slower,
            "Per cent more instructions than on main that a benchmark may take without its author saying why.",
            .from0(upTo: 1_000_000)),
    ]
}

/// `all`, for all that are available, or machines apart by commas: `pvh,pvh-smp4,disk`.
extension BootDemand: SettingType {
    private static let every = "all"

    package static var form: SettingForm { .text }

    package static var usual: Allowed<BootDemand> {
        let names = Machine.all.map(\.name).joined(separator: ",")
        return Allowed(inWords: "\"\(every)\", for all that are available, or names apart by commas, such as \(names)") { _ in
            true
        }
    }

    package init?(_ value: SettingValue) {
        guard case .string(let text) = value else { return nil }
        if text == Self.every {
            self = .available
            return
        }
        let names = text.split(separator: ",", omittingEmptySubsequences: false)
        let machines = names.compactMap { Machine(named: String($0.drop { $0 == " " })) }
        guard machines.count == names.count, Set(machines.map(\.name)).count == names.count else { return nil }
        self = .named(machines)
    }

    package var settingValue: SettingValue {
        switch self {
        case .available: .string(Self.every)
        case .named(let machines): .string(machines.map(\.name).joined(separator: ","))
        }
    }
}
