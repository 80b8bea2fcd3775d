import SystemPackage

/// What comes with the programs: prompts, recorded runs, the kernel's protected side.
package enum Share {
    /// `name` in `$AUTON_SHARE`, which the front sets; else in the working directory, or where `make install` puts it, beside
    /// the program's `bin`.
    package static func find(_ name: String) -> String {
        if let share = environment("AUTON_SHARE") { return FilePath(share).appending(name).string }
        if Files.exists(FilePath(name)) { return name }
        let installed = Tools.running.removingLastComponent().removingLastComponent().appending("share/auton").appending(name)
        return Files.exists(installed) ? installed.string : name
    }

    /// What belongs to the programs themselves, and no setting names: `name` in `data/`, also of the checkout that the program was
    /// built in, wherever it is called.
    package static func data(_ name: String) -> FilePath {
        let found = FilePath(find("data")).appending(name)
        // .build/TRIPLE/CONFIGURATION/PROGRAM
        let checkout = (0..<4).reduce(Tools.running) { path, _ in path.removingLastComponent() }
        let built = checkout.appending("data").appending(name)
        return !Files.exists(found) && Files.exists(built) ? built : found
    }

    /// Where the user's programs keep what can be made again, by the XDG base directory specification: a directory of ours, which need not
    /// be there; nil where there is no home.
    package static func cache(_ name: String) -> FilePath? {
        let home = environment("HOME").map { FilePath($0) }.flatMap { Files.isDirectory($0) ? $0.appending(".cache") : nil }
        return (environment("XDG_CACHE_HOME").map { FilePath($0) } ?? home)?.appending("auton").appending(name)
    }
}
