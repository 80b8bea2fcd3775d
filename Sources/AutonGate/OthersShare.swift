import AutonKit
import Glibc
import SystemPackage

/// How much of the machine's processors others have while something of ours runs: neither we nor what we have started and waited for.
struct OthersShare {
    private let start = ContinuousClock.now
    private let others = Self.others()

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
        let busy = (ticks.reduce(0, +) - ticks[3] - ticks[4]) / Double(sysconf(Int32(_SC_CLK_TCK)))
        return busy - seconds(of: RUSAGE_SELF) - seconds(of: RUSAGE_CHILDREN)
    }

    private static func seconds(of who: __rusage_who) -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(who.rawValue), &usage)
        return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
    }
}
