import AutonKit
import AutonMessages
import Glibc
import SystemPackage

/// A directory that an agent's paths cannot lead out of: relative, without `..`, through no symbolic link.
package struct ConfinedDirectory: Sendable {
    package let root: FilePath
    /// What may be written: files and directories (ending in a slash); nil for everything.
    package var writable: [String]?

    package init(_ root: FilePath, writable: [String]? = nil) {
        self.root = root
        self.writable = writable
    }

    /// Why a path is refused.
    package struct Refusal: Error { package var reason: String }

    /// The place of `path` outside.
    package func resolve(_ path: String) throws(Refusal) -> FilePath {
        if path.isEmpty || path == "." { return root }
        if path.hasPrefix("/") { throw Refusal(reason: "\(path): paths are relative to the work tree") }
        if path.utf8.contains(0) { throw Refusal(reason: "\(path): a path must not contain a NUL") }
        var place = root
        for component in path.split(separator: "/") where component != "." {
            if component == ".." { throw Refusal(reason: "\(path): a path must not contain ..") }
            if component.lowercased() == ".git" { throw Refusal(reason: "\(path): git is not yours to touch") }
            place.append(String(component))
            if Files.type(of: place) == S_IFLNK { throw Refusal(reason: "\(path): leads through a symbolic link") }
        }
        return place
    }

    /// The text of a file.
    package func read(_ path: String) throws(Refusal) -> String {
        let place = try resolve(path)
        guard Files.type(of: place) == S_IFREG, let text = try? Files.readText(place) else {
            throw Refusal(reason: "\(path): no such file")
        }
        return text
    }

    /// Writes a whole file, making the directories above it.
    package func write(_ path: String, _ content: String) throws {
        let place = try resolve(path)
        if let writable, !writable.contains(where: { $0.hasSuffix("/") ? path.hasPrefix($0) : path == $0 }) {
            throw Refusal(reason: "\(path): outside your task's paths (\(writable.joined(separator: ", ")))")
        }
        if Files.isDirectory(place) { throw Refusal(reason: "\(path): is a directory") }
        var parents: [FilePath] = []
        var parent = place.removingLastComponent()
        while parent != root && !Files.exists(parent) {
            parents.append(parent)
            parent = parent.removingLastComponent()
        }
        do {
            try Files.createDirectories(place.removingLastComponent())
            try Files.write(place, Array(content.utf8), sync: false)
        } catch let error as AutonError where error.status == .badInput {
            // A file where a directory should be, too long a name: the model can put that right.
            throw Refusal(reason: "\(path): \(error.what)")
        }
        for path in parents + [place] { try Worktree.handOver(path) }
    }

    /// All files below `path`, relative to the root, with their sizes in bytes; build output left out.
    package func list(_ path: String) throws -> [(path: String, bytes: Int)] {
        let start = try resolve(path)
        func walk(_ directory: FilePath, _ prefix: String) throws -> [(path: String, bytes: Int)] {
            try Files.list(directory).flatMap { name -> [(path: String, bytes: Int)] in
                let place = directory.appending(name), path = prefix + name
                if path == "build" { return [] }
                switch Files.type(of: place) {
                case S_IFDIR: return try walk(place, path + "/")
                case S_IFREG: return [(path, Int(Self.size(place)))]
                default: return []
                }
            }
        }
        let prefix = start == root ? "" : path.split(separator: "/").filter { $0 != "." }.joined(separator: "/") + "/"
        guard Files.isDirectory(start) else { throw Refusal(reason: "\(path): no such directory") }
        return try walk(start, prefix)
    }

    private static func size(_ path: FilePath) -> off_t {
        var status = stat()
        return lstat(path.string, &status) == 0 ? status.st_size : 0
    }
}
