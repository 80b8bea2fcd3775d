import Glibc

/// Runs what blocks for long on a thread of its own: on the pool, which has as many threads as there are cores, two
/// waiting transfers would stop everything else.
package enum OwnThread {
    /// - Returns: what `body` does; nil if no thread can be started.
    package static func run<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T? {
        await withCheckedContinuation { continuation in
            let work = Work {
                blockBrokenPipes()
                continuation.resume(returning: body())
            }
            let context = Unmanaged.passRetained(work)
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { context in
                    Unmanaged<Work>.fromOpaque(context!).takeRetainedValue().body()
                    return nil
                }, context.toOpaque())
            if code == 0 {
                pthread_detach(thread)
            } else {
                context.release()
                continuation.resume(returning: nil)
            }
        }
    }

    /// libcurl leaves SIGPIPE to us, since it must not touch signals beside other threads; TLS can raise it.
    private static func blockBrokenPipes() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    private final class Work {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
}
