/// Which files of a tree make builds into the kernel: `in` and `DIRS` of its Makefile.
enum KernelSources {
    static let directories: Set<String> = ["boot", "mm", "sched", "ipc", "nl", "hv", "llm", "drivers", "lib", "tests"]

    /// Sources of those directories, at most one level down; those of the disk's boot sector are no part of the kernel.
    static func areBuilt(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        // `*.c` is no file that begins with a dot.
        guard (2...3).contains(parts.count), !parts.contains(where: { $0.hasPrefix(".") }),
            directories.contains(String(parts[0])), !path.utf8.starts(with: "boot/disk/".utf8)
        else {
            return false
        }
        return path.hasSuffix(".c") || path.hasSuffix(".asm")
    }
}
