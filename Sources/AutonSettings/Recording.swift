import AutonKit
import AutonMessages
import SystemPackage

extension Settings {
    /// The recorded run that is repeated in `mailbox`: the one named, that of $AUTON_SCHEDULE, or the recording that the model is, if the
    /// plan is its plan. Nil if none is.
    package func recording(named name: String? = nil, repeatedIn mailbox: Mailbox) throws -> Mailbox? {
        if let named = name ?? environment("AUTON_SCHEDULE") { return Mailbox(FilePath(named)) }
        func isLive() throws -> Bool { try model.auth == .none || APIKey.find(self) != nil }
        let uri = try model.uri ?? (isLive() ? "" : "replay:01-minimal-boot"), scheme = "replay:"
        guard uri.hasPrefix(scheme) else { return nil }
        let run = String(uri.dropFirst(scheme.count))
        for place in [FilePath(paths.runs).appending(run), FilePath(run)] where Files.isDirectory(place.appending("plan")) {
            let recording = Mailbox(place)
            let plan = try mailbox.find(Plan.self, "1"), recorded = try recording.find(Plan.self, "1")
            return plan?.tasks == recorded?.tasks ? recording : nil
        }
        return nil
    }
}
