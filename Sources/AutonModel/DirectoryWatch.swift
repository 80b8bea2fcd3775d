import Glibc
import SystemPackage

/// Waits for something to be renamed into or written in a directory, by inotify(7), or by the clock where there is no
/// inotify or it does not see the change (network file systems). A wake-up is a hint: look again.
package final class DirectoryWatch: Sendable {
    private let queue: Int32

    package init(_ directory: FilePath) {
        queue = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        if queue >= 0 {
            _ = inotify_add_watch(queue, directory.string, UInt32(IN_MOVED_TO | IN_CLOSE_WRITE))
        }
    }

    deinit { if queue >= 0 { close(queue) } }

    /// Returns at the first change since the last call, and after `seconds` at the latest.
    package func wait(seconds: Double) {
        var descriptor = pollfd(fd: queue, events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, Int32(seconds * 1000)) > 0 else { return }
        var events = [UInt8](repeating: 0, count: 4096)
        while read(queue, &events, events.count) > 0 {}
    }
}
