import AutonKit
import Testing

@Suite struct MachineTests {
    @Test func names() {
        #expect(Machine.all.map(\.name) == ["pvh", "pvh-smp4", "pvh-64m", "pvh-4g", "disk", "iso"])
        #expect(Machine(.disk, processors: 2, memory: 3072).name == "disk-smp2-3g")
        for machine in Machine.all + [Machine(.iso, processors: 16, memory: 1000)] {
            #expect(Machine(named: machine.name) == machine)
        }
    }

    /// No other spelling either: two names of one machine would be two boots.
    @Test(arguments: [
        "", "-", "pvh-", "PVH", "bios", "pvh-smp0", "pvh-smp1", "pvh-smp17", "pvh-smp04", "pvh-128m", "pvh-63m", "pvh-5g",
        "pvh-1024m",
        "pvh-64m-smp4", "pvh-smp4-smp4", "pvh-64", "pvh smp4", "pvh-99999999999999999999m", "pvh-4g,iso", "pvh-smp", "pvh-٤g",
    ]) func noNames(name: String) {
        #expect(Machine(named: name) == nil)
    }
}
