import Glibc
import SystemPackage

extension Sandbox {
    /// What of /usr no build needs: the site's own. To hide it takes fewer mounts than to show the rest, and each takes time.
    private static let hidden = ["/usr/local", "/usr/src"]
    private static let supervisorInside = "/sandbox"

    /// The program that is process 1: beside the running one, or where `make install` puts it.
    package static var supervisor: FilePath {
        get throws {
            let name = "auton-sandbox"
            let bin = Tools.running.removingLastComponent()
            let places = [bin.appending(name), bin.removingLastComponent().appending("libexec/auton").appending(name)]
            guard let place = places.first(where: { access($0.string, X_OK) == 0 }) else {
                throw AutonError(.unavailable, "\(name) is missing: run make build, or make install", at: bin.string)
            }
            return place
        }
    }

    /// The command line that enters it.
    ///
    /// - Parameter temporary: the directory for temporary files, as seen inside.
    func commandLine(temporary: FilePath) throws -> [String] {
        let supervisor = try Self.supervisor
        let parameters = [String(Self.changesUser ? Self.user : 0), inside(directory), temporary.string]
        guard isConfined else { return [supervisor.string] + parameters }
        guard let bubblewrap = Tools.find("bwrap") else { throw Tools.missing("bwrap") }
        return [bubblewrap.string] + namespaces
            + variables(temporary: temporary).sorted { $0.key < $1.key }.flatMap {
                ["--setenv", $0.key, $0.value]
            } + binds(supervisor) + ["--", Self.supervisorInside] + parameters
    }

    /// What the supervisor and the commands are told of the world.
    func variables(temporary: FilePath) -> [String: String] {
        ["PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": temporary.string, "TMPDIR": temporary.string]
    }

    private var namespaces: [String] {
        // As root without a user namespace, in which the user that commands become would not exist. The capabilities are for
        // becoming it, and then gone.
        let user =
            Self.changesUser
            ? ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
                + ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"].flatMap { ["--cap-add", $0] }
            : ["--unshare-all", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
        return user + ["--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "auton"]
    }

    private func binds(_ supervisor: FilePath) -> [String] {
        var arguments = ["--ro-bind", "/usr", "/usr"]
        for place in Self.hidden where Files.isDirectory(FilePath(place)) {
            arguments += ["--tmpfs", place, "--remount-ro", place]
        }
        for link in ["bin", "lib", "lib64", "sbin"] { arguments += ["--symlink", "usr/\(link)", "/\(link)"] }
        // Made by hand: bwrap would give it to root alone, and awk and cc are behind it.
        arguments += ["--perms", "0755", "--dir", "/etc"]
        arguments += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--proc", "/proc", "--dev", "/dev"]
        arguments += ["--perms", "1777", "--size", String(256 << 20), "--tmpfs", "/tmp"]
        arguments += [isWritable ? "--bind" : "--ro-bind", directory.string, Self.mountPoint]
        for bind in readable { arguments += ["--ro-bind", bind.outside.string, bind.inside] }
        arguments += ["--ro-bind", supervisor.string, Self.supervisorInside]
        // Last of all: who is not root outside owns what bwrap made inside.
        return arguments + ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", Self.mountPoint]
    }
}
