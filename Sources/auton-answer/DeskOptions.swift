import ArgumentParser
import AutonCommand
import AutonKit
import AutonSettings
import Glibc
import SystemPackage

/// What every command of the desk has in common.
struct DeskOptions: ParsableArguments {
    @Option(name: .customLong("desk"), help: .setting(\.paths.desk, "dir"))
    var directory: String?

    @OptionGroup var source: SettingsOptions

    func openDesk() throws -> Desk {
        let settings = try source.load([SettingFlag("--desk", \.paths.desk, directory)])
        return Desk(directory: Files.absolute(FilePath(settings.paths.desk)))
    }

    /// The open request of a conversation and what is staged for it.
    func open(_ conversation: String) throws -> (request: OpenRequest, staging: Staging) {
        let desk = try openDesk()
        let request: OpenRequest
        do {
            request = try desk.open(conversation)
        } catch var error as AutonError {
            if let remains = try Staging.remains(of: conversation, at: desk) {
                error.what += "; what is staged stays in \(remains)"
            }
            throw error
        }
        return (request, try Staging(for: request, at: desk))
    }
}
