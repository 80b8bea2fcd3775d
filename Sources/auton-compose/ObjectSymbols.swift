import AutonGate
import AutonKit
import SystemPackage

/// What one object file of a tree gives to others and takes from them.
struct ObjectSymbols: Sendable, Equatable {
    /// The source: `ipc/pump.c`.
    var source: String
    /// What it defines for others.
    var defined: Set<String> = []
    /// What it uses of others.
    var used: Set<String> = []
    /// The tables that the linker collects from all objects.
    var tables: Set<String> = []

    /// Of all objects that were just built in the sandbox, by nm(1).
    static func all(in session: SandboxSession) async throws -> [ObjectSymbols] {
        var limits = session.sandbox.limits
        limits.output = 8 << 20
        let list = "find build/obj -name '*.o' -exec nm --print-file-name --format=sysv {} +"
        let result = try await session.run("sh", ["-c", list], limits: limits)
        return parse(String(decoding: result.output.bytes, as: UTF8.self))
    }

    /// Of the lines `build/obj/ipc/pump.c.o:pump |0000000000000000|   T  |  FUNC|0000000000000010|     |.text`
    static func parse(_ listing: String) -> [ObjectSymbols] {
        var found: [String: ObjectSymbols] = [:]
        for line in listing.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":"), line.hasPrefix("build/obj/") else { continue }
            let source = String(line[..<colon].dropFirst("build/obj/".count).dropLast(".o".count))
            let fields = line[line.index(after: colon)...].split(separator: "|", omittingEmptySubsequences: false).map {
                $0.split(separator: " ").joined(separator: " ")
            }
            guard fields.count == 7 else { continue }
            var object = found[source] ?? ObjectSymbols(source: source)
            switch fields[2] {
            case "U": object.used.insert(fields[0])
            case "T", "D", "B", "R", "W", "V": object.defined.insert(fields[0])
            default: break
            }
            // Everybody has tests.
            if fields[6].hasPrefix(".auton."), ![".auton.ktests", ".auton.kbenches"].contains(fields[6]) {
                object.tables.insert(fields[6])
            }
            found[source] = object
        }
        return found.values.sorted { $0.source < $1.source }
    }
}
