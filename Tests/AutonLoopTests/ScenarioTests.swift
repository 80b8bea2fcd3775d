import AutonKit
import SystemPackage
import TestSupport
import Testing

/// The programs by hand, as folders of `Tests/Scenarios` tell: what is there before, what is put in and run (`input/run`, a shell script in
/// which `auton` is the front), and what is there after: its output, complaints and status, and files.
@Suite struct ScenarioTests {
    private static let root = Program.package.appending("Tests/Scenarios")
    static let names = try! Files.list(root).filter { Files.exists(root.appending("\($0)/input/run")) }

    @Test(arguments: names) func goesAsTold(_ name: String) async throws {
        let scenario = Self.root.appending(name), directory = try TemporaryDirectory()
        if Files.exists(scenario.appending("before")) { try LoopRun.copy(scenario.appending("before"), to: directory.path) }
        try LoopRun.copy(scenario.appending("input"), to: directory["input"])
        try directory.write("bin/auton", "#!/bin/sh\nexec sh \(Program.package)/auton \"$@\"\n")
        var variables = Command.plainEnvironment
        variables["AUTON_BIN"] = Program.directory.string
        var command = Command("sh", ["-c", "chmod +x bin/auton; PATH=$PWD/bin:$PATH; . input/run"], environment: variables)
        command.directory = directory.path
        command.timeLimit = 120
        let result = try await command.run()
        try directory.write("stdout", result.output.text)
        try directory.write("stderr", result.errors.text)
        try directory.write("status", "\(result.ending)\n")
        for (file, text) in try Self.expected(scenario.appending("after")) {
            #expect(Files.exists(directory[file]), "\(file)")
            if Files.exists(directory[file]) { #expect(try directory.read(file) == text, "\(file)") }
        }
    }

    private static func expected(_ directory: FilePath) throws -> [(String, String)] {
        try Files.list(directory).flatMap { name in
            let path = directory.appending(name)
            return Files.isDirectory(path)
                ? try expected(path).map { ("\(name)/\($0.0)", $0.1) } : [(name, try Files.readText(path))]
        }
    }
}
