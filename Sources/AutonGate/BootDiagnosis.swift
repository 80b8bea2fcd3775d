import AutonKit
import Glibc
import SystemPackage

/// What a bad boot is asked further. Nothing of it changes the verdict, and a good boot pays nothing for it.
extension Boot {
    /// - Parameters:
    ///   - looks: where a hang was seen.
    ///   - directory: the boot's.
    func diagnosis(of report: BootReport, looks: [MachineState], directory: FilePath) async -> [String] {
        switch report.ending {
        case .timedOut: await Diagnosis.hang(looks, image: kernel, directory: directory)
        case .panic: await Diagnosis.panic(report.report.trace, image: kernel, directory: directory)
        case .reset: (try? await resetDiagnosis()) ?? []
        case .passed, .failed, .flooded, .notLoadable, .other: []
        }
    }

    /// What has the symbols: the image itself, or what a disk or CD was made of.
    private var kernel: FilePath {
        machine.path == .pvh ? image : image.removingLastComponent().appending("kernel.elf")
    }

    /// From a second boot, with QEMU's log of interrupts, that stops where the first one was reset.
    private func resetDiagnosis() async throws -> [String] {
        let directory = try Files.createTemporaryDirectory(image.removingLastComponent().appending("boot"))
        defer { try? Files.removeTree(directory) }
        try Worktree.handOver(directory)
        var sandbox = try await prepared(directory)
        // The log goes to standard error, whose end is what matters.
        sandbox.limits.output = 128 << 10
        // With that log, and on a machine that may have much else to do.
        sandbox.limits.seconds *= 3
        let end = ContinuousClock.now + .seconds(sandbox.limits.seconds)
        let look = Task { await Self.stateAtReset(in: directory, until: end) }
        defer { look.cancel() }
        let log = ["-no-shutdown", "-d", "int,cpu_reset"]
        let result = try await qemu(in: sandbox, nonce: Self.randomNonce(), log)
        look.cancel()
        let state = await look.value
        guard let state else { return ["a second boot, to find out why, was not reset"] }
        return await Diagnosis.reset(
            InterruptLog(result.errors.text), state: state, image: kernel, directory: directory)
    }

    /// Waits until the machine was to be reset and has stopped, and ends QEMU; nil if that does not come.
    private static func stateAtReset(in directory: FilePath, until end: ContinuousClock.Instant) async -> MachineState? {
        while !Files.exists(directory.appending(Monitor.name)) {
            guard .now < end, (try? await Task.sleep(for: .milliseconds(10))) != nil else { return nil }
        }
        return await OwnThread.run {
            var monitor = Monitor(in: directory, until: end)
            // The socket is there a moment before it listens.
            while monitor == nil && .now < end && Files.exists(directory.appending(Monitor.name)) {
                usleep(10_000)
                monitor = Monitor(in: directory, until: end)
            }
            guard let monitor else { return nil }
            while let status = monitor.execute("query-status") {
                if status == "shutdown" {
                    let state = MachineState.read(monitor)
                    _ = monitor.execute("quit")
                    return state
                }
                usleep(10_000)
            }
            return nil
        } ?? nil
    }
}
