import AutonKit
import Glibc
import SystemPackage

/// How long a process could have run and was not let, since others were at work: no time of its own.
enum ProcessorWait {
    /// The most seconds that one of its threads has waited for a processor so far; 0 for one that cannot be seen.
    ///
    /// The second number of schedstat is that, in nanoseconds: https://docs.kernel.org/scheduler/sched-stats.html
    static func seconds(of process: pid_t) -> Double {
        let threads = FilePath("/proc/\(process)/task")
        let waits = ((try? Files.list(threads)) ?? []).compactMap { thread -> Double? in
            let numbers = try? Files.readText(threads.appending(thread).appending("schedstat")).split(separator: " ")
            return numbers.flatMap { $0.count > 1 ? Double($0[1]) : nil }
        }
        return (waits.max() ?? 0) / 1e9
    }
}
