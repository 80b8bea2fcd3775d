import AutonKit

/// One file of a change, before and after.
package struct ChangedFile: Sendable {
    package enum Status: Character, Sendable {
        case added = "A", modified = "M", deleted = "D"
        /// From a file to a link or the other way.
        case typeChanged = "T"
    }

    /// Lines that stand together: what was there, and what took its place.
    package struct Hunk: Sendable, Equatable {
        /// Of the first line, counted from 1. Where no line is removed or added: of the line before the place.
        package var oldStart: Int
        package var newStart: Int
        package var removed: [String]
        package var added: [String]

        package init(oldStart: Int = 0, newStart: Int = 0, removed: [String] = [], added: [String] = []) {
            (self.oldStart, self.newStart, self.removed, self.added) = (oldStart, newStart, removed, added)
        }
    }

    package var path: String
    package var status: Status
    /// As in a tree: 0o100644, 0o120000 for a link; 0 where there is no file.
    package var oldMode: Int
    package var newMode: Int
    /// Bytes; nil where there is no file.
    package var oldSize: Int?
    package var newSize: Int?
    package var hunks: [Hunk] = []
    /// The texts before and after the change; nil if there is no file, or if it is too large to be read.
    private(set) var oldText: [UInt8]?
    package private(set) var text: [UInt8]?
    /// The two versions as C, or as nasm's input, if that is what the path says.
    private(set) var oldC: CSource?
    private(set) var newC: CSource?
    private(set) var oldAssembler: AssemblerSource?
    private(set) var newAssembler: AssemblerSource?

    package var isOnBase: Bool { oldMode != 0 }

    package init(path: String, status: Status, oldMode: Int, newMode: Int) {
        self.path = path
        self.status = status
        self.oldMode = oldMode
        self.newMode = newMode
    }

    /// Whether its contents are looked at: files, and the paths of links.
    var isReadable: Bool {
        [(oldMode, oldSize), (newMode, newSize)].allSatisfy { mode, size in
            // A submodule has none here.
            mode == 0 || mode == 0o160000 || size.map { $0 <= Change.largestFile } ?? false
        }
    }

    mutating func read(old: [UInt8]?, new: [UInt8]?) {
        (oldText, text) = (old, new)
        let isFile = { (mode: Int) in mode & 0o170000 == 0o100000 }
        let old = isFile(oldMode) ? old : nil, new = isFile(newMode) ? new : nil
        switch SourceLanguage(path: path) {
        case .c: (oldC, newC) = (old.map { CSource($0) }, new.map { CSource($0) })
        case .assembler: (oldAssembler, newAssembler) = (old.map { AssemblerSource($0) }, new.map { AssemblerSource($0) })
        case nil: break
        }
    }
}

/// What reads a file, as its name tells.
enum SourceLanguage {
    case c, assembler

    init?(path: String) {
        switch path.split(separator: "/").last?.split(separator: ".").dropFirst().last ?? "" {
        case "c", "h", "def", "cc", "cpp", "cxx", "hh", "hpp", "S", "s": self = .c
        case "asm", "inc", "nasm": self = .assembler
        default: return nil
        }
    }
}
