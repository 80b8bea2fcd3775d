import AutonKit
import AutonModel
import Glibc
import SystemPackage

/// The directory of the `file:` transport, seen from the side of whoever plays the model.
///
/// | there is | the turn is |
/// |---|---|
/// | `C.T.request.json` | open |
/// | that and `C.T.response.json` | answered, not yet taken up |
/// | neither | over, or not asked yet |
struct Desk {
    let directory: FilePath

    /// A request file without its answer.
    struct Entry: Hashable {
        var turn: Turn
        var path: FilePath
        /// When the request was written, in nanoseconds since 1970.
        var written: Int64

        /// Whole seconds since then.
        var age: Int { max(0, time(nil) - Int(written / 1_000_000_000)) }
    }

    /// A file that calls itself a request and is none.
    struct Unreadable {
        var path: FilePath
        var reason: String
    }

    private static let suffix = ".request.json"

    /// The open turns, oldest first, and the files that are none by their names. A conversation asks one thing at a time:
    /// of several requests the one asked last counts, the others were left behind by killed runs.
    func scan() throws -> (open: [Entry], misnamed: [Unreadable]) {
        var last: [String: Entry] = [:], misnamed: [Unreadable] = []
        for name in try Files.list(directory) where name.hasSuffix(Self.suffix) && !name.hasPrefix(".") {
            let path = directory.appending(name)
            guard let turn = Turn(named: String(name.dropLast(Self.suffix.count))) else {
                misnamed.append(Unreadable(path: path, reason: "not named CONVERSATION.TURN.request.json"))
                continue
            }
            guard let written = Self.modified(path) else { continue }
            let entry = Entry(turn: turn, path: path, written: written)
            if let other = last[turn.conversation], (other.written, other.turn.number) > (written, turn.number) { continue }
            last[turn.conversation] = entry
        }
        let open = last.values.filter { !isAnswered($0.turn) }
        return (open.sorted { ($0.written, $0.path.string) < ($1.written, $1.path.string) }, misnamed)
    }

    func isAnswered(_ turn: Turn) -> Bool { Files.exists(FileTransport.response(turn, in: directory)) }

    /// The open request of a conversation; without a name, the oldest readable one of all.
    ///
    /// - Throws: `AutonError` with `.tryAgain` if nothing is open, `.badInput` if it is answered or unreadable.
    func open(_ conversation: String?) throws -> OpenRequest {
        let open = try scan().open
        guard let conversation else {
            for entry in open { if let request = try? OpenRequest(entry) { return request } }
            throw AutonError(.tryAgain, "no open request", at: directory.string)
        }
        if let entry = open.first(where: { $0.turn.conversation == conversation }) { return try OpenRequest(entry) }
        if let turn = try answered(conversation) {
            throw AutonError(.badInput, "turn \(turn.number) is answered already and the next is not asked yet", at: conversation)
        }
        let others = Set(open.map(\.turn.conversation)).sorted().joined(separator: ", ")
        throw AutonError(
            .tryAgain, "no open request (still running, or over); open are: \(others.isEmpty ? "none" : others)", at: conversation
        )
    }

    /// The turn of a conversation whose answer lies there and was not taken up.
    func answered(_ conversation: String) throws -> Turn? {
        try Files.list(directory).filter { $0.hasSuffix(Self.suffix) }
            .compactMap { Turn(named: String($0.dropLast(Self.suffix.count))) }
            .last { $0.conversation == conversation && isAnswered($0) }
    }

    private static func modified(_ path: FilePath) -> Int64? {
        var status = stat()
        guard lstat(path.string, &status) == 0 else { return nil }
        return Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
    }
}

extension Turn {
    /// Parses `CONVERSATION.TURN`, the stem of the files' names; a conversation may have dots of its own.
    init?(named stem: String) {
        guard let dot = stem.lastIndex(of: "."), dot != stem.startIndex else { return nil }
        let digits = String(stem[stem.index(after: dot)...])
        guard let number = Int(digits), number > 0, String(number) == digits else { return nil }
        self.init(conversation: String(stem[..<dot]), number: number)
    }

    var stem: String { "\(conversation).\(number)" }
}
