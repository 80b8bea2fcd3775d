import AutonKit
import AutonModel
import FoundationEssentials
import Glibc
import SystemPackage

/// The time until which all processes leave a server alone, in one small file: `{"until":SECONDS SINCE 1970,"why":…}`.
///
/// Whoever is told to wait writes it, and everyone looks at it before each request. When the time has come they wake
/// one after another and look again, so the first ones probe, and if the server still says no the others wait on.
package struct SharedBackoff: Sendable {
    private struct Note: Codable {
        var until: Double
        var why: String
    }

    private let file: FilePath

    /// - Parameter file: beside it lies a lock, `.lock`.
    package init(file: FilePath) { self.file = file }

    /// Returns when the time has come, or after `cap` seconds, whatever the file says.
    ///
    /// - Parameter report: told once if that takes more than a few seconds.
    func wait(cap: Double, report: (String) -> Void) async throws {
        let start = ContinuousClock.now
        var told = false
        while let (seconds, why) = remaining(cap: cap), .now - start < .seconds(cap) {
            // Spread over as much again as was to wait, but neither at once nor for long.
            let sleep = seconds + Double.random(in: 0...min(max(seconds, 1), 10))
            if sleep > 3 && !told {
                told = true
                report("waiting \(shortly(sleep)) before the next request: \(why)")
            }
            try await Task.sleep(for: .seconds(min(sleep, cap)))
        }
    }

    /// Has everyone wait `seconds` from now, at most `cap`; never shortens what there is.
    func extend(by seconds: Double, cap: Double, why: String) throws {
        let seconds = min(seconds, cap)
        // One at a time, so that a short wait cannot replace a longer one that was written meanwhile.
        let lock = try FileLock(file.appending(".lock", toLastComponent: true))
        defer { lock.release() }
        if let there = remaining(cap: cap), there.seconds >= seconds { return }
        try Files.replace(file, CompactJSON.encode(Note(until: Self.now + seconds, why: why)))
    }

    /// What is left to wait; nil if nothing is. It ends `cap` seconds after the file was written at the latest, so
    /// that nonsense in it holds nobody up for long.
    private func remaining(cap: Double) -> (seconds: Double, why: String)? {
        var status = stat()
        guard stat(file.string, &status) == 0, let bytes = try? Files.read(file),
            let note = try? CompactJSON.decode(Note.self, from: bytes, at: file.string)
        else { return nil }
        let seconds = min(note.until, Double(status.st_mtim.tv_sec) + cap) - Self.now
        return seconds > 0 ? (min(seconds, cap), note.why) : nil
    }

    private static var now: Double { Date().timeIntervalSince1970 }
}
