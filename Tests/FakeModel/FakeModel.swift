import ArgumentParser
import AutonKit
import Glibc
import SystemPackage

@main
struct FakeModel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fake-model", abstract: "A server on loopback that speaks the Messages API and misbehaves on demand.",
        discussion: manual)

    @Option(help: "Port to listen on; 0 picks a free one.")
    var port: UInt16 = 0

    @Option(help: "The key that a request must carry, as x-api-key or as a bearer token; any if left out.")
    var key: String?

    @Option(help: ArgumentHelp("Steps to answer with.", valueName: "file"))
    var script: String?

    @Option(help: ArgumentHelp("Answer from a recorded run, such as runs/01-minimal-boot.", valueName: "dir"))
    var replay: String?

    @Option(help: ArgumentHelp("Answer with so many calls of `list`, then `finish`.", valueName: "n"))
    var noopTurns: Int?

    @Flag(help: "Be one of the other servers: no count_tokens, no cache, no version header, unknown fields ignored.")
    var subset = false

    @Option(help: ArgumentHelp("Tokens of the shortest prefix that the prompt cache takes.", valueName: "n"))
    var cacheMinimum = 1024

    @Option(help: ArgumentHelp("Requests allowed in so many seconds; 429 for those above.", valueName: "n/seconds"))
    var rate: String?

    @Option(
        help: ArgumentHelp("USD per million tokens in and out; the log then has what was billed in all.", valueName: "in/out"))
    var prices: String?

    @Option(help: ArgumentHelp("Append a line of JSON for every request.", valueName: "file"))
    var log: String?

    @Option(help: ArgumentHelp("Keep the body of request N as N.json.", valueName: "dir"))
    var bodies: String?

    func run() throws {
        do {
            let server = try Server(try options())
            let listener = try Listener(port: port)
            try FileDescriptor.standardOutput.writeAll("http://127.0.0.1:\(listener.port)\n".utf8)
            endWithStarter()
            listener.run(server)
        } catch let error as AutonError {
            _ = try? FileDescriptor.standardError.writeAll("fake-model: \(error)\n".utf8)
            throw ExitCode(error.status.rawValue)
        }
    }

    private func options() throws -> ServerOptions {
        var options = ServerOptions()
        options.key = key
        options.script = try script.map { try Script(reading: FilePath($0)) } ?? Script()
        options.recordings = try replay.map { try Recordings(of: FilePath($0)) }
        options.noopTurns = noopTurns
        options.isSubset = subset
        options.cacheMinimum = cacheMinimum
        if let rate {
            options.rate = RateLimit(rate)
            if options.rate == nil { throw ValidationError("--rate is REQUESTS/SECONDS") }
        }
        if let prices {
            let numbers = prices.split(separator: "/").compactMap { Double($0) }
            guard numbers.count == 2 else { throw ValidationError("--prices is IN/OUT") }
            options.prices = Prices(input: numbers[0], output: numbers[1])
        }
        options.log = log.map { FilePath($0) }
        options.bodies = bodies.map { FilePath($0) }
        if let bodies = options.bodies { try Files.createDirectories(bodies) }
        return options
    }

    /// A pipe on standard input ends with whoever started us; so do we then.
    private func endWithStarter() {
        var status = stat()
        guard fstat(STDIN_FILENO, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else { return }
        detach {
            var byte: UInt8 = 0
            while read(STDIN_FILENO, &byte, 1) > 0 {}
            Glibc.exit(0)
        }
    }
}
