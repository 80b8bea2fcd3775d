import AutonKit
import SystemPackage

/// Looks on from outside of the machine while a kernel runs: the report comes from the harness, and the harness is left alone.
struct Oversight: Sendable {
    private static let log = "witness", kernelInside = "/kernel.elf"

    /// The ELF image that is to be seen at work, whatever loads it.
    private let kernel: FilePath
    private let witness: Witness?
    private let watch: HarnessWatch?

    init(of kernel: FilePath) throws {
        self.kernel = kernel
        let elf = ELFImage(try Files.read(kernel))
        witness = elf.flatMap(Witness.init)
        watch = elf.flatMap(HarnessWatch.init)
    }

    /// What QEMU needs to have for it, in the directory of the boot too.
    func prepare(_ sandbox: inout Sandbox) async throws {
        // A witness says a kilobyte of each byte.
        if witness != nil { sandbox.limits.fileSize = 512 << 20 }
        guard watch != nil else { return }
        sandbox.readable.append((outside: kernel, inside: Self.kernelInside))
        try await QEMUPlugin.compile(HarnessWatch.source, to: sandbox.directory)
    }

    /// What QEMU is to be told.
    func arguments(in sandbox: Sandbox) -> [String] {
        let inside = { (name: String) in sandbox.inside(sandbox.directory.appending(name)) }
        return (witness?.arguments(log: inside(Self.log)) ?? [])
            + (watch?.arguments(
                plugin: inside(HarnessWatch.plugin), image: sandbox.inside(kernel), output: inside(HarnessWatch.output)) ?? [])
    }

    /// What was seen in a boot: whether the harness has sent what was reported, and what was done to it; the latter is empty if nothing was.
    func findings(_ reported: [UInt8], in directory: FilePath) throws -> (origin: BootReport.Origin, tampering: [String]) {
        let origin = try witness.map { $0.origin(of: reported, $0.events(in: try Boot.bytes(of: directory.appending(Self.log)))) }
        let tampering = try watch.map { $0.findings(try Boot.bytes(of: directory.appending(HarnessWatch.output))) }
        return (origin ?? .unknown, tampering ?? ["the image does not tell where its harness is"])
    }
}
