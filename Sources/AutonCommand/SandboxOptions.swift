import ArgumentParser
import AutonKit
import Glibc

/// How what a model wrote is run. Not a setting: who wants no sandbox says so each time.
package struct SandboxOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Run what a model wrote with all limits, but without bubblewrap: it can read and send what you can, and the verdict says so.",
            discussion: "Default: $AUTON_UNSAFE_NO_SANDBOX."))
    package var unsafeNoSandbox = false

    package init() {}

    /// To be called before anything is run.
    package func apply() {
        if unsafeNoSandbox { setenv(Sandbox.renouncement, "1", 1) }
        if Sandbox.isRenounced { complain("WITHOUT A SANDBOX: what a model wrote can read and send all that you can") }
    }
}
