import AutonKit
import SystemPackage

/// Many blobs of a repository, read by one git process.
enum Blobs {
    /// Bytes by blob. What is no blob here (a submodule's commit, no file) has none.
    static func sizes(of blobs: [String], in git: Git) async throws -> [String: Int] {
        let wanted = Set(blobs).filter { $0.contains { $0 != "0" } }.sorted()
        if wanted.isEmpty { return [:] }
        let result = try await git.result(
            ["cat-file", "--batch-check=%(objectname) %(objectsize)"], input: wanted.map { $0 + "\n" }.joined())
        guard result.succeeded else {
            let why = Text.lines(result.errors.text).first ?? "no message"
            // Whoever cloned it left them out; nothing is fetched here.
            let isPartial = result.errors.text.contains("promisor")
            throw AutonError(
                isPartial ? .badInput : .bug, isPartial ? "a partial clone without the files" : "git cat-file failed: \(why)",
                at: git.directory.string)
        }
        let answer = result.output.text
        return Dictionary(
            answer.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                return words.count == 2 ? Int(words[1]).map { (String(words[0]), $0) } : nil
            }, uniquingKeysWith: { first, _ in first })
    }

    /// - Parameter blobs: those that are there, as `sizes` has them.
    static func contents(of blobs: [String], in git: Git) async throws -> [String: [UInt8]] {
        let wanted = Set(blobs).sorted()
        if wanted.isEmpty { return [:] }
        let result = try await git.result(
            ["cat-file", "--batch=%(objectname) %(objectsize)"], input: wanted.map { $0 + "\n" }.joined())
        guard result.succeeded, result.output.total == result.output.bytes.count else {
            throw AutonError(.bug, "git cat-file failed: \(Text.lines(result.errors.text).first ?? "no message")")
        }
        var found: [String: [UInt8]] = [:]
        var rest = result.output.bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let words = String(decoding: rest[..<end], as: UTF8.self).split(separator: " ")
            guard words.count == 2, let size = Int(words[1]), rest.endIndex - end > size + 1 else {
                throw AutonError(.bug, "git cat-file: not a blob: \(words.joined(separator: " "))")
            }
            found[String(words[0])] = Array(rest[(end + 1)..<(end + 1 + size)])
            rest = rest[(end + size + 2)...]
        }
        return found
    }
}
