import AutonKit
import FoundationEssentials
import Glibc
import SystemPackage

extension ProgressLine {
    var text: String {
        let mark = isStart ? "…" : status == 0 ? "✓" : status == 1 ? "✗" : status == 75 ? "~" : "!"
        let time = isStart ? "" : " \(Self.rounded(seconds)) s"
        return "\(mark) \(pad(subject, 14)) \(pad(stage, 8))\(time)\(words.isEmpty ? "" : "  \(words)")"
    }

    private static func rounded(_ seconds: Double) -> String {
        let tenths = Int((seconds * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}

func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}

/// Shows progress as it is logged: a line when a stage ends, and on a terminal, below, the stages that are running now,
/// repainted in place.
struct Follower {
    let log: FilePath
    private var running: [String: ProgressLine] = [:]
    private var painted = 0
    /// How each stage of each attempt ended last.
    private var ended: [String: ProgressLine] = [:]
    private let terminal = isatty(STDOUT_FILENO) == 1

    init(log: FilePath) { self.log = log }

    /// Follows the log from its present end until standard input ends.
    func run() throws {
        var follower = self
        var position = Files.exists(log) ? try Files.read(log).count : 0
        while true {
            let over = Self.inputEnded(within: 200)
            let news = Files.exists(log) ? try Files.read(log, from: position) : []
            let end = news.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            follower.erase()
            for line in String(decoding: news[..<end], as: UTF8.self).split(separator: "\n") {
                ProgressLine(line).map { follower.take($0) }
            }
            position += end
            if over { break }
            follower.paint()
            fflush(nil)
        }
        fflush(nil)
    }

    private mutating func take(_ line: ProgressLine) {
        let key = line.subject + line.stage
        running[key] = line.isStart ? line : nil
        // A task that has to wait is tried again and again, from its gate on: that says nothing new.
        let isKnown = if let before = ended[key] { line.isStart || before.status == line.status } else { false }
        if !line.isStart { ended[key] = line }
        if !isKnown && (!line.isStart || !terminal) { print(line.text) }
    }

    private mutating func paint() {
        guard terminal else { return }
        let now = Date().timeIntervalSince1970
        for line in running.values.sorted(by: { $0.time < $1.time }) {
            print("\u{1B}[2K\(line.text) \(Int(now - line.time)) s")
        }
        painted = running.count
    }

    private mutating func erase() {
        if painted > 0 { print("\u{1B}[\(painted)A\u{1B}[J", terminator: "") }
        painted = 0
    }

    private static func inputEnded(within milliseconds: Int32) -> Bool {
        var input = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        guard poll(&input, 1, milliseconds) > 0 else { return false }
        var byte: UInt8 = 0
        return read(STDIN_FILENO, &byte, 1) <= 0
    }
}
