import AutonKit
import AutonMessages
import CLinux
import Glibc
import Synchronization
import SystemPackage

/// Boots an image in QEMU, itself in the sandbox, and reads what it says.
package struct Boot: Sendable {
    /// Bytes of each serial port that are kept; a kernel that prints more is killed.
    package static let outputLimit = 1 << 20

    /// What `machine.image` names, wherever it lies.
    package var image: FilePath
    package var machine: Machine
    /// The suites of tests to run; empty for all.
    package var suites: [String]
    /// The suites of benchmarks to run after them; empty for all, nil for none.
    package var benches: [String]?
    /// In which order the tests run, and the init functions of a level: `reverse`, or a seed; nil for that of their names.
    package var order: String?
    /// The seed by which tests run beside one another, each suite in a thread, of those that say by their names that they may; nil for one after the other.
    package var beside: Int?
    /// What is called in place of tests and is to end in a panic, suite.name; nil for none.
    var panic: String?
    /// False: no tests, the kernel powers off when it is ready.
    package var runsTests = true
    /// Wall time until the boot counts as hung.
    package var seconds: Double
    /// What is to look on from outside.
    var oversight: Oversight?
    /// What is to look at the processor's state.
    package var processorWatch: ProcessorWatch?
    /// What is to be profiled.
    var profile: Profile.Window?

    package init(image: FilePath, machine: Machine = Machine(), suites: [String] = [], seconds: Double = 10) {
        self.image = image
        self.machine = machine
        self.suites = suites
        self.seconds = seconds
    }

    package func run() async throws -> BootReport {
        guard Files.type(of: image) == S_IFREG else { throw AutonError(.badInput, "no kernel image", at: image.string) }
        let start = ContinuousClock.now
        // Beside the image, so that it goes when the tree goes if we are killed first.
        let directory = try Files.createTemporaryDirectory(image.removingLastComponent().appending("boot"))
        defer { try? Files.removeTree(directory) }
        try Worktree.handOver(directory)
        let nonce = Self.randomNonce()
        let console = directory.appending("console"), report = directory.appending("ktap")

        var sandbox = try await prepared(directory)
        let sampling = HangSampler(directory: directory, after: seconds)
        sandbox.limits.seconds = sampling.limit
        // The limit on the size of files bounds the bytes, but QEMU's processor thread blocks its signal and would go
        // on to the time limit.
        sandbox.stop = { Self.isFull(console) || Self.isFull(report) }
        let sampler = Task { await sampling.run() }
        defer { sampler.cancel() }
        let result = try await qemu(in: sandbox, nonce: nonce)
        sampler.cancel()
        let looks = await sampler.value

        let printed = try Self.text(of: console, hiding: nonce), reported = try Self.bytes(of: report)
        let complaint = Text.lines(result.errors.text).first ?? ""
        var ending = BootEnding.timedOut
        if Self.isFull(console) || Self.isFull(report) {
            ending = .flooded
        } else if looks.isEmpty {
            ending = try BootEnding(
                result.ending, complaint: complaint, isSilent: printed.isEmpty && reported.isEmpty, image: image)
        }
        var found = BootReport(
            console: printed, report: Self.hide(nonce, in: KTAPReport(parsing: reported, nonce: nonce)),
            counters: CounterReport(parsing: reported), ending: ending,
            seconds: start.duration(to: .now).seconds, limit: seconds,
            complaint: complaint.replacing("qemu-system-x86_64: ", with: "").replacing("qemu: ", with: "").replacing(
                sandbox.inside(image), with: machine.image)
        )
        if let oversight { (found.origin, found.tampering) = try oversight.findings(reported, in: directory) }
        if let processorWatch {
            let seen = processorWatch.findings(try Self.bytes(of: directory.appending(ProcessorWatch.output)))
            found.counters.add(seen.masked, atStart: seen.maskedAtStart)
            found.tampering += seen.tampering
        }
        if profile != nil { found.profile = try Self.bytes(of: directory.appending(Profile.output)) }
        // A panic that was asked for needs no explanation.
        if panic == nil || ending != .panic { found.diagnosis = await diagnosis(of: found, looks: looks, directory: directory) }
        return found
    }

    private static let imageInside = "/image"

    /// The sandbox with all that QEMU's arguments name.
    func prepared(_ directory: FilePath) async throws -> Sandbox {
        var sandbox = sandbox(directory)
        if machine.countsInstructions { try await HaltOrder.prepare(sandbox) }
        try await oversight?.prepare(&sandbox)
        try await processorWatch?.prepare(sandbox)
        return sandbox
    }

    /// QEMU's, with a directory for what the boot leaves.
    private func sandbox(_ directory: FilePath) -> Sandbox {
        var sandbox = Sandbox(directory)
        sandbox.readable = [(outside: image, inside: Self.imageInside)]
        if let profile { sandbox.readable.append((outside: profile.plugin, inside: Profile.pluginInside)) }
        sandbox.limits.memory = machine.addressSpace
        sandbox.limits.totalMemory = machine.memoryLimit
        sandbox.limits.seconds = seconds
        sandbox.limits.output = 16 << 10
        sandbox.limits.fileSize = Self.outputLimit
        // Who goes by the clock goes first; and that one of QEMU's threads has something to do is no reason to interrupt the other.
        sandbox.limits.givesWay = machine.countsInstructions
        return sandbox
    }

    /// - Parameter more: further arguments.
    func qemu(in sandbox: Sandbox, nonce: String, _ more: [String] = []) async throws -> CommandResult {
        // Where QEMU keeps what is written to a disk; of itself it would use a directory that the sandbox does not have.
        let place = "TMPDIR=\(sandbox.inside(sandbox.directory))"
        var command = ["env", place, "qemu-system-x86_64"] + arguments(nonce: nonce, in: sandbox) + more
        // On one processor of the host QEMU's threads take turns: where instructions are counted, one waits for the other all the time.
        if machine.countsInstructions, let processor = Self.processor() {
            command = ["taskset", "-c", String(processor)] + command
        }
        return try await sandbox.run(command[0], Array(command.dropFirst()))
    }

    private static let turn = Atomic(UInt32(getpid()))

    /// Another one each time, as far as there are several; nil if that cannot be told.
    private static func processor() -> Int? {
        let processor = auton_processor(turn.wrappingAdd(1, ordering: .relaxed).newValue)
        return processor < 0 ? nil : Int(processor)
    }

    private func arguments(nonce: String, in sandbox: Sandbox) -> [String] {
        let inside = { (name: String) in sandbox.inside(sandbox.directory.appending(name)) }
        var arguments =
            machine.arguments(image: sandbox.inside(image)) + [
                "-qmp", Monitor.argument,
                "-serial", "file:\(inside("console"))", "-serial", "file:\(inside("ktap"))",
            ]
        if machine.countsInstructions { arguments += HaltOrder.arguments(inside) }
        arguments += oversight?.arguments(in: sandbox) ?? []
        arguments += processorWatch?.arguments(inside) ?? []
        if let profile {
            arguments += profile.arguments(plugin: sandbox.inside(profile.plugin), output: inside(Profile.output))
        }
        guard runsTests else { return arguments + ["-fw_cfg", "name=opt/auton/run,string=none"] }
        arguments += ["-fw_cfg", "name=opt/auton/nonce,string=\(nonce)"]
        // QEMU takes two commas for one.
        if !suites.isEmpty { arguments += ["-fw_cfg", "name=opt/auton/suites,string=" + suites.joined(separator: ",,")] }
        if let order { arguments += ["-fw_cfg", "name=opt/auton/order,string=\(order)"] }
        if let beside { arguments += ["-fw_cfg", "name=opt/auton/beside,string=\(beside)"] }
        if let panic { arguments += ["-fw_cfg", "name=opt/auton/panic,string=\(panic)"] }
        if let benches {
            arguments += [
                "-fw_cfg", "name=opt/auton/bench,string=" + (benches.isEmpty ? "all" : benches.joined(separator: ",,")),
            ]
        }
        if machine.countsInstructions { arguments += ["-fw_cfg", "name=opt/auton/count,string=yes"] }
        return arguments
    }

    static func randomNonce() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<16).map { _ in
            let byte = String(UInt8.random(in: 0...255, using: &generator), radix: 16)
            return byte.count == 1 ? "0" + byte : byte
        }.joined()
    }

    private static func isFull(_ file: FilePath) -> Bool {
        var status = stat()
        return lstat(file.string, &status) == 0 && status.st_size >= outputLimit
    }

    /// Empty if QEMU did not get as far as making the file. The directory was writable in the sandbox: what lies in
    /// it is believed to be a file only if it is one.
    static func bytes(of file: FilePath) throws -> [UInt8] {
        Files.type(of: file) == S_IFREG ? try Files.read(file) : []
    }

    private static func text(of file: FilePath, hiding nonce: String) throws -> String {
        String(decoding: try bytes(of: file), as: UTF8.self).replacing(nonce, with: "<nonce>")
    }

    /// What reaches an agent must be the same for every boot of the same kernel.
    private static func hide(_ nonce: String, in report: KTAPReport) -> KTAPReport {
        var report = report
        let hide = { (text: String) in text.replacing(nonce, with: "<nonce>") }
        report.panic = report.panic.map(hide)
        report.running = report.running.map(hide)
        report.problems = report.problems.map(hide)
        for index in report.tests.indices {
            report.tests[index].name = hide(report.tests[index].name)
            report.tests[index].diagnostics = report.tests[index].diagnostics.map(hide)
        }
        return report
    }
}
