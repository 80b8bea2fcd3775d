import SystemPackage

/// What comes with the programs: prompts, recorded runs, the kernel's protected side.
package enum Share {
    /// `name` in `$AUTON_SHARE`, which the front sets; else in the working directory, or where `make install` puts it, beside
    /// the program's `bin`, or in the checkout that the program was built in.
    package static func find(_ name: String) -> String {
        if let share = environment("AUTON_SHARE") { return FilePath(share).appending(name).string }
        if Files.exists(FilePath(name)) { return name }
        let build = Tools.running.removingLastComponent(), prefix = build.removingLastComponent()
        // .build/TRIPLE/CONFIGURATION
        let checkout = prefix.removingLastComponent().removingLastComponent()
        return [prefix.appending("share/auton"), checkout].map { $0.appending(name) }.first(where: Files.exists)?.string ?? name
    }
}
