import AutonKit

extension Machine {
    /// What it boots, as the tree's Makefile makes it.
    package var image: String {
        switch path {
        case .pvh: "build/kernel.elf"
        case .disk: "build/disk.img"
        case .iso: "build/kernel.iso"
        }
    }

    /// What the kernel is told. Any words will do; the boot tests compare them with what QEMU says.
    private var commandLine: String { "console=com1 auton" + (debugsMemory ? " slab.debug" : "") }

    /// QEMU's arguments, all but those of the report.
    ///
    /// - Parameter image: where QEMU finds the image.
    func arguments(image: String) -> [String] {
        let boot =
            switch path {
            case .pvh: ["-bios", "qboot.rom", "-kernel", image, "-append", commandLine] + (hasModule ? ["-initrd", image] : [])
            // What a kernel writes to it is gone with QEMU.
            case .disk: ["-drive", "file=\(image),format=raw,snapshot=on"]
            case .iso: ["-cdrom", image]
            }
        // The year is the same whatever counts: no kernel is to know by it that it is being measured.
        let clock =
            countsInstructions
            // Random numbers of the processor's own are not to tell two boots apart either.
            ? ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"] : ["-rtc", "base=2024-01-01"]
        // No device writes to memory of itself: the one of a disk is not there unless it is booted from, nor does the firmware's
        // configuration.
        let chipset = ["-machine", path == .pvh ? "q35,sata=off" : "q35", "-global", "fw_cfg.dma_enabled=off"]
        return chipset + boot + [
            "-accel", "tcg,tb-size=256", "-cpu", "max", "-smp", String(processors), "-m", String(memory),
            "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-nic", "none",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
        ] + clock
    }

    /// Bytes of memory that QEMU may use: the guest's, and as much as it ever needs itself.
    var memoryLimit: Int { memory << 20 + 2 << 30 }

    /// Bytes of address space that it may take. Its own is 1 GiB with translated code of 256 MiB at most (of itself it would have that be an eighth
    /// of the host's memory), and it reads a disk by up to 64 threads, each with a stack of 8 MiB and a heap of glibc's that begins with 64.
    var addressSpace: Int { memory << 20 + 6 << 30 }
}
