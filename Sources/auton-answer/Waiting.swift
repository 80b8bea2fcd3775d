import AutonKit
import AutonModel
import SystemPackage

extension Desk {
    /// Waits for an open request that is wanted, the oldest if there are several; nil when the time is up, or nothing
    /// can come any more.
    ///
    /// A request that cannot be read counts as not yet written.
    func wait(seconds: Int, unless isOver: () -> Bool = { false }, for isWanted: (Entry) -> Bool) throws -> OpenRequest? {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var watch: DirectoryWatch?
        while true {
            // The transport makes the directory when it first asks; until then there is nothing to watch.
            if watch == nil, Files.isDirectory(directory) { watch = DirectoryWatch(directory) }
            for entry in try scan().open where isWanted(entry) {
                if let open = try? OpenRequest(entry) { return open }
            }
            let left = deadline - ContinuousClock.now
            if left <= .zero || isOver() { return nil }
            (watch ?? DirectoryWatch(directory)).wait(seconds: min(1, max(0.001, left / .seconds(1))))
        }
    }

    /// Whether the program said that a conversation is over. It takes that back when it asks again.
    func isOver(_ conversation: String) -> Bool { Files.exists(FileTransport.over(conversation, in: directory)) }

    /// Why nothing came, as far as that can be seen from here.
    func silence(_ conversation: String?, _ seconds: Int, after filed: String) throws -> AutonError {
        guard let conversation else {
            return AutonError(.tryAgain, "\(filed)no open request within \(seconds) s", at: directory.string)
        }
        let what =
            try answered(conversation) == nil ? "still running, or over" : "its answer is not taken up yet: does its program run?"
        return AutonError(.tryAgain, "\(filed)no further request within \(seconds) s (\(what))", at: conversation)
    }
}
