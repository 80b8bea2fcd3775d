import ArgumentParser
import AutonKit
import AutonSettings
import SystemPackage

/// Where the stages find one another's work.
package struct Places: ParsableArguments {
    @Option(help: .setting(\.paths.mailbox, "dir"))
    package var mailbox: String?

    @Option(help: .setting(\.paths.workspace, "dir"))
    package var workspace: String?

    @OptionGroup package var source: SettingsOptions

    package init() {}

    /// Reads the settings.
    ///
    /// - Parameter flags: what the program's other options say.
    package func settings(_ flags: [SettingFlag?] = []) throws -> Settings {
        try source.load(
            [SettingFlag("--mailbox", \.paths.mailbox, mailbox), SettingFlag("--workspace", \.paths.workspace, workspace)] + flags
        )
    }
}

extension Settings {
    /// The mailbox, its directories made, its complaints on standard error.
    package func openMailbox() throws -> Mailbox {
        var mailbox = Mailbox(FilePath(paths.mailbox))
        mailbox.report = { complain($0) }
        try mailbox.prepare()
        return mailbox
    }

    package func openWorkspace() throws -> Workspace {
        try Workspace(FilePath(paths.workspace))
    }
}
