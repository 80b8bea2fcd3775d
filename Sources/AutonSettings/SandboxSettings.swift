import AutonKit

extension Settings {
    /// The bounds of what runs of a model's making.
    package struct SandboxLimits: Sendable {
        package var seconds = 60
        package var maxSeconds = 300
        /// As much as QEMU takes of it with 4 GiB for its guest, the largest machine of the gate's.
        package var memoryMiB = 6144
        package var totalMemoryMiB = 4096
        package var processes = 256
        package var fileMiB = 64
        package var diskMiB = 1024
        package var outputKiB = 32
        package var buildSeconds = 300.0
        package var bootSeconds = 30.0

        package var limits: RunLimits {
            var limits = RunLimits()
            limits.sandbox.seconds = Double(seconds)
            limits.sandbox.memory = memoryMiB << 20
            limits.sandbox.totalMemory = totalMemoryMiB << 20
            limits.sandbox.processes = processes
            limits.sandbox.fileSize = fileMiB << 20
            limits.sandbox.disk = diskMiB << 20
            limits.sandbox.output = outputKiB << 10
            limits.shellMaxSeconds = maxSeconds
            limits.buildSeconds = buildSeconds
            limits.bootSeconds = bootSeconds
            return limits
        }
    }
}

extension Setting {
    static let sandbox: [Setting] = [
        Setting(
            "sandbox.seconds", \.sandbox.seconds, "Seconds for an agent's shell command that asks for no others.",
            .from(1, to: 86_400)),
        Setting("sandbox.max_seconds", \.sandbox.maxSeconds, "The most seconds that it may ask for.", .from(1, to: 86_400)),
        Setting(
            "sandbox.memory_mib", \.sandbox.memoryMiB, "Address space of each process of a build or command, in MiB.",
            .from(256, to: 1 << 20)),
        Setting(
            "sandbox.total_memory_mib", \.sandbox.totalMemoryMiB,
            "Memory that all processes of a build or command may have resident together, in MiB.", .from(256, to: 1 << 20)),
        Setting(
            "sandbox.processes", \.sandbox.processes, "Processes at once, all sandboxes of one user together.",
            .from(16, to: 65_536)),
        Setting("sandbox.file_mib", \.sandbox.fileMiB, "The largest file that may be written, in MiB.", .from(1, to: 1 << 20)),
        Setting(
            "sandbox.disk_mib", \.sandbox.diskMiB, "What a work tree may come to, build output included, in MiB.",
            .from(16, to: 1 << 20)),
        Setting("sandbox.output_kib", \.sandbox.outputKiB, "What is kept of a command's output, in KiB.", .from(1, to: 1024)),
        Setting("sandbox.build_seconds", \.sandbox.buildSeconds, "Seconds for a build.", .seconds),
        Setting(
            "sandbox.boot_seconds", \.sandbox.bootSeconds,
            "Seconds until a boot counts as hung, without those in which QEMU has to wait for a processor.", .seconds),
    ]
}
