import AutonKit
import Glibc
import SystemPackage

/// How much of the machine's processors others have while something of ours runs: neither we nor what we have started.
struct OthersShare {
    private let start = ContinuousClock.now
    private let others = Self.others()

    /// Tests that go by the clock are not to be believed in what fails where others have more of the machine than this.
    private static let busy = 0.2

    /// What a boot that failed may be made again for, one after the other.
    static let goes = ["second", "third"]

    /// Why what failed by the clock passes if it does when tried again; nil on a machine that is ours, where it has failed.
    var excuse: String? {
        let share = share
        return share > Self.busy ? "as others had \(Int(share * 100)) % of the machine" : nil
    }

    /// From 0 to 1, since this was made; 0 if it cannot be told.
    var share: Double {
        let seconds = start.duration(to: .now).seconds * Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        guard let before = others, let now = Self.others(), seconds > 0 else { return 0 }
        return min(max((now - before) / seconds, 0), 1)
    }

    /// Seconds of all processors that were not idle, or that a host above this one has given to others, less our own.
    ///
    /// The columns are user, nice, system, idle, iowait, irq, softirq and steal: https://docs.kernel.org/filesystems/proc.html
    private static func others() -> Double? {
        let line = (try? Files.readText("/proc/stat"))?.split(separator: "\n").first ?? ""
        let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
        guard ticks.count == 8 else { return nil }
        return (ticks.reduce(0, +) - ticks[3] - ticks[4] - ours()) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Ticks of us, of what we have started and of what that has, whether it still runs or was waited for.
    ///
    /// After the name in parentheses come state, parent, and as 12th to 15th the ticks as a user and in the kernel, ours
    /// and those of children that were waited for: https://docs.kernel.org/filesystems/proc.html
    private static func ours() -> Double {
        var parents: [pid_t: pid_t] = [:], ticks: [pid_t: Double] = [:]
        for process in ((try? Files.list("/proc")) ?? []).compactMap({ pid_t($0) }) {
            let text = (try? Files.readText(FilePath("/proc/\(process)/stat"))) ?? ""
            let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ").dropFirst()
            guard fields.count > 14, let parent = pid_t(fields[fields.startIndex + 1]) else { continue }
            parents[process] = parent
            ticks[process] = fields.dropFirst(11).prefix(4).reduce(0) { $0 + (Double($1) ?? 0) }
        }
        func isOurs(_ process: pid_t) -> Bool {
            process == getpid() || parents[process].map { $0 != process && isOurs($0) } ?? false
        }
        return ticks.reduce(0) { $0 + (isOurs($1.key) ? $1.value : 0) }
    }
}
