import AutonKit
import Glibc
import SystemPackage

/// Looks where a kernel is that has not ended in time.
struct HangSampler: Sendable {
    /// Seconds that looking may take, and QEMU to begin.
    private static let seconds = 5.0
    /// How many times as long as it should take a boot may on a machine that has much else to do.
    private static let patience = 8.0
    private static let samples = 24

    /// The boot's.
    var directory: FilePath
    /// Seconds until the boot counts as hung, without those in which QEMU had to wait for a processor.
    var after: Double

    /// All that a boot may take, seconds of wall time.
    var limit: Double { after * Self.patience + 2 * Self.seconds }

    /// Waits, looks some times, and ends QEMU; nothing if it has ended before that or cannot be seen. An odd number of
    /// milliseconds between the looks, so that they are no echo of a timer's.
    func run() async -> [MachineState] {
        while !Files.exists(directory.appending(Monitor.name)) {
            guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { return [] }
        }
        let start = ContinuousClock.now
        var due = after
        repeat {
            guard (try? await Task.sleep(until: start + .seconds(due))) != nil else { return [] }
            // Who does not answer waits for one now.
            due = min((await waited()).map { after + $0 } ?? due + 1, after * Self.patience)
        } while start.duration(to: .now).seconds < due
        return await OwnThread.run { look() } ?? []
    }

    /// Seconds that QEMU had to wait for a processor; nil if it does not answer.
    private func waited() async -> Double? {
        await OwnThread.run {
            Monitor(in: directory, until: .now + .seconds(1)).map { ProcessorWait.seconds(of: $0.process) }
        } ?? nil
    }

    private func look() -> [MachineState] {
        guard let monitor = Monitor(in: directory, until: .now + .seconds(Self.seconds - 1)) else { return [] }
        var states: [MachineState] = []
        for count in 0..<Self.samples {
            guard monitor.execute("stop") != nil, let state = MachineState.read(monitor) else { break }
            states.append(state)
            // It will not move any more.
            if count >= 2 && state.isHalted && !state.interruptsEnabled { break }
            guard monitor.execute("cont") != nil else { break }
            usleep(UInt32(5 + count % 7) * 1000)
        }
        // What was not seen to be alive is not ended either: how it ends by itself, or is killed, counts.
        if !states.isEmpty { _ = monitor.execute("quit") }
        return states
    }
}
