/// The results at one level of a KTAP stream: those of the report itself, or the subtests of one test.
///
/// Each line that it is given is answered by what is wrong with it, one line a fault.
struct KTAPBlock {
    private var hasVersion = false
    private var plan: Int?
    private(set) var results = 0
    private var failed: [String] = []
    private var failures = 0
    private var faults: [String] = []

    mutating func version(_ version: String) -> [String] {
        defer { hasVersion = true }
        return (hasVersion ? ["a second version line"] : []) + (version == "1" ? [] : ["\(version), not KTAP version 1"])
    }

    mutating func plan(_ count: Int) -> [String] {
        defer { plan = plan ?? count }
        return (hasVersion ? [] : ["the plan comes before the version line"]) + (plan == nil ? [] : ["a second plan"])
            + (results == 0 ? [] : ["the plan comes after results"])
    }

    mutating func result(_ result: KTAPLine.Result) -> [String] {
        results += 1
        return (hasVersion ? [] : ["results come before the version line"])
            + (plan == nil ? ["results come before the plan"] : [])
            + (result.number == results ? [] : ["result \(result.number) stands where \(results) belongs"])
    }

    /// What is wrong with the block, now that it is over.
    var end: [String] {
        let missing = hasVersion ? [] : ["no version line"]
        guard let plan else { return missing + ["no plan"] }
        return missing + (plan == results ? [] : ["\(plan) tests planned, \(results) reported"])
    }

    // MARK: - Of subtests

    mutating func note(_ found: [String]) {
        for fault in found where faults.count < 3 && !faults.contains(fault) { faults.append(fault) }
    }

    mutating func noteFailure(of name: String) {
        failures += 1
        if failed.count < 3 { failed.append(name) }
    }

    /// What speaks against the test whose subtests these were.
    var complaints: [String] {
        var block = self
        block.note(end)
        let more = failures > failed.count ? " and \(failures - failed.count) more" : ""
        return (failures > 0 ? ["subtests failed: " + failed.joined(separator: ", ") + more] : [])
            + block.faults.map { "subtests: " + $0 }
    }
}
