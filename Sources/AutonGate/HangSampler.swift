import AutonKit
import Glibc
import SystemPackage

/// Looks where a kernel is that has not ended in time.
struct HangSampler: Sendable {
    /// Seconds that looking may take, after the boot's own.
    static let seconds = 5.0
    private static let samples = 24

    /// The boot's.
    var directory: FilePath
    /// Seconds until the boot counts as hung.
    var after: Double

    /// Waits, looks some times, and ends QEMU; nothing if it has ended before that or cannot be seen. An odd number of
    /// milliseconds between the looks, so that they are no echo of a timer's.
    func run() async -> [MachineState] {
        guard (try? await Task.sleep(for: .seconds(after))) != nil else { return [] }
        return await OwnThread.run { look() } ?? []
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
