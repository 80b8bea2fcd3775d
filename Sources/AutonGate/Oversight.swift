import AutonKit
import SystemPackage

/// Looks on from outside of the machine while a kernel runs: the report comes from the harness, and the harness is left alone.
struct Oversight: Sendable {
    private static let kernelInside = "/kernel.elf"

    /// The ELF image that is to be seen at work, whatever loads it.
    private let kernel: FilePath
    /// Nil if the image does not tell where its harness is. A machine with several processors has no flow to follow.
    private let eyes: (witness: Witness, watch: HarnessWatch, flow: HarnessFlow?)?

    /// - Parameter machine: where it is going to be booted.
    init(of kernel: FilePath, on machine: Machine) throws {
        self.kernel = kernel
        guard let elf = ELFImage(try Files.read(kernel)), let witness = Witness(elf), let watch = HarnessWatch(elf) else {
            eyes = nil
            return
        }
        let flow = HarnessFlow(elf), isAlone = machine.processors == 1
        eyes = isAlone && flow == nil ? nil : (witness, watch, isAlone ? flow : nil)
    }

    /// What QEMU needs to have for it, in the directory of the boot too.
    func prepare(_ sandbox: inout Sandbox) async throws {
        guard let eyes else { return }
        // The witness has three characters for each byte, and a line for each test.
        sandbox.limits.fileSize = 4 * Boot.outputLimit
        sandbox.readable.append((outside: kernel, inside: Self.kernelInside))
        try await QEMUPlugin.compile(HarnessWatch.source, to: sandbox.directory)
        guard let flow = eyes.flow else { return }
        let functions = sandbox.directory.appending(HarnessFlow.functions)
        try Files.write(functions, Array(flow.table.utf8), sync: false)
        try Worktree.handOver(functions)
        try await QEMUPlugin.compile(HarnessFlow.source, to: sandbox.directory)
    }

    /// What QEMU is to be told.
    func arguments(in sandbox: Sandbox) -> [String] {
        guard let eyes else { return [] }
        let inside = { (name: String) in sandbox.inside(sandbox.directory.appending(name)) }
        let watch = eyes.watch.arguments(
            plugin: inside(HarnessWatch.plugin), image: sandbox.inside(kernel), output: inside(HarnessWatch.output),
            and: eyes.witness.arguments(output: inside(Witness.output)))
        return watch + (eyes.flow?.arguments(inside) ?? [])
    }

    /// What was seen in a boot: whether the harness has sent what was reported, and what was done to it; the latter is empty if nothing was.
    func findings(_ reported: [UInt8], in directory: FilePath) throws -> (origin: BootReport.Origin, tampering: [String]) {
        guard let eyes else { return (.unknown, ["the image does not tell where its harness is"]) }
        let bytes = { (name: String) in try Boot.bytes(of: directory.appending(name)) }
        let events = Witness.events(in: try bytes(Witness.output))
        let called = events.compactMap { event in if case .called(let function) = event { function } else { nil } }
        let written = try eyes.watch.findings(bytes(HarnessWatch.output))
        let entered = try eyes.flow?.findings(bytes(HarnessFlow.output), called: called) ?? []
        return (eyes.witness.origin(of: reported, events), written + entered)
    }
}
