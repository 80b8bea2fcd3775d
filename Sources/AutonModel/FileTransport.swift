import AutonKit
import SystemPackage

/// Asks whoever answers in a directory: `CONVERSATION.TURN.request.json` goes out, `CONVERSATION.TURN.response.json`
/// comes in. Both leave the directory once the exchange is in the transcript, so what lies there is open. When a
/// conversation ends, `CONVERSATION.over` says so.
package struct FileTransport: Transport {
    package let model = "live language model, file transport"
    private let directory: FilePath
    private let report: @Sendable (String) -> Void

    package init(directory: FilePath, report: @escaping @Sendable (String) -> Void) {
        self.directory = Files.absolute(directory)
        self.report = report
    }

    package static func request(_ turn: Turn, in directory: FilePath) -> FilePath {
        directory.appending("\(turn.conversation).\(turn.number).request.json")
    }

    package static func response(_ turn: Turn, in directory: FilePath) -> FilePath {
        directory.appending("\(turn.conversation).\(turn.number).response.json")
    }

    package static func over(_ conversation: String, in directory: FilePath) -> FilePath {
        directory.appending("\(conversation).over")
    }

    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        try Files.createDirectories(directory)
        try Files.removeTree(Self.over(turn.conversation, in: directory))
        let question = Self.request(turn, in: directory), answer = Self.response(turn, in: directory)
        let bytes = try CompactJSON.encode(request)
        // The same question may have been answered while nobody waited; an answer to another one is stale.
        if try !Files.exists(question) || Files.read(question) != bytes {
            try Files.removeTree(answer)
            try Files.replace(question, bytes)
        }
        let watch = DirectoryWatch(directory)
        while true {
            if Files.exists(answer) {
                do {
                    // A shell's `>response` makes the file, empty, long before there is an answer to put there.
                    let bytes = try Files.read(answer)
                    if !bytes.isEmpty {
                        return try CompactJSON.decode(MessagesResponse.self, from: bytes, at: answer.string)
                    }
                } catch let error as AutonError {
                    try Files.removeTree(answer.appending(".rejected", toLastComponent: true))
                    _ = try Files.renameNew(answer, to: answer.appending(".rejected", toLastComponent: true))
                    // Whoever hears of it may put another there at once.
                    report("\(error); set aside, waiting for another")
                }
            }
            await OwnThread.run { watch.wait(seconds: 1) }
        }
    }

    package func settle(_ turn: Turn, _ response: MessagesResponse) throws {
        try Files.removeTree(Self.request(turn, in: directory))
        try Files.removeTree(Self.response(turn, in: directory))
    }

    package func close(_ conversation: String) throws {
        if Files.isDirectory(directory) { try Files.replace(Self.over(conversation, in: directory), []) }
    }
}
