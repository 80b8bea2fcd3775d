import AutonKit
import SystemPackage

/// Looks on from outside of the machine while a kernel runs: the report comes from the harness, and the harness is left alone.
struct Oversight: Sendable {
    private static let log = "witness", kernelInside = "/kernel.elf"

    /// The ELF image that is to be seen at work, whatever loads it.
    private let kernel: FilePath
    private let witness: Witness?
    private let watch: HarnessWatch?
    /// Of a machine with one processor.
    private let flow: HarnessFlow?
    private let isAlone: Bool

    /// - Parameter machine: where it is going to be booted.
    init(of kernel: FilePath, on machine: Machine) throws {
        self.kernel = kernel
        let elf = ELFImage(try Files.read(kernel))
        witness = elf.flatMap(Witness.init)
        watch = elf.flatMap(HarnessWatch.init)
        isAlone = machine.processors == 1
        flow = isAlone ? elf.flatMap(HarnessFlow.init) : nil
    }

    /// What QEMU needs to have for it, in the directory of the boot too.
    func prepare(_ sandbox: inout Sandbox) async throws {
        // A witness says a kilobyte of each byte.
        if witness != nil { sandbox.limits.fileSize = 512 << 20 }
        if watch != nil {
            sandbox.readable.append((outside: kernel, inside: Self.kernelInside))
            try await QEMUPlugin.compile(HarnessWatch.source, to: sandbox.directory)
        }
        guard let flow else { return }
        let functions = sandbox.directory.appending(HarnessFlow.functions)
        try Files.write(functions, Array(flow.table.utf8), sync: false)
        try Worktree.handOver(functions)
        try await QEMUPlugin.compile(HarnessFlow.source, to: sandbox.directory)
    }

    /// What QEMU is to be told.
    func arguments(in sandbox: Sandbox) -> [String] {
        let inside = { (name: String) in sandbox.inside(sandbox.directory.appending(name)) }
        return (witness?.arguments(log: inside(Self.log)) ?? [])
            + (watch?.arguments(
                plugin: inside(HarnessWatch.plugin), image: sandbox.inside(kernel), output: inside(HarnessWatch.output)) ?? [])
            + (flow?.arguments(inside) ?? [])
    }

    /// What was seen in a boot: whether the harness has sent what was reported, and what was done to it; the latter is empty if nothing was.
    func findings(_ reported: [UInt8], in directory: FilePath) throws -> (origin: BootReport.Origin, tampering: [String]) {
        guard let witness, let watch, flow != nil || !isAlone else {
            return (.unknown, ["the image does not tell where its harness is"])
        }
        let bytes = { (name: String) in try Boot.bytes(of: directory.appending(name)) }
        let events = try witness.events(in: bytes(Self.log))
        let called = events.compactMap { event in if case .called(let function) = event { function } else { nil } }
        let written = try watch.findings(bytes(HarnessWatch.output))
        let entered = try flow?.findings(bytes(HarnessFlow.output), called: called) ?? []
        return (witness.origin(of: reported, events), written + entered)
    }
}
