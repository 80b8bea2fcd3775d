/// What the prompt cache holds, and what a request takes from it and adds to it.
///
/// Entries are written at breakpoints only. A breakpoint reads the longest prefix that is there and ends at most 20 blocks
/// back, the breakpoint's own counted; every reading begins an entry's life anew.
struct PromptCache {
    private struct Entry {
        var lifetime: Prompt.Lifetime
        var written: Double
    }

    /// Tokens of the shortest prefix that is cached.
    let minimum: Int
    private var entries: [Int: Entry] = [:]
    private static let lookBack = 20

    init(minimum: Int) { self.minimum = minimum }

    /// - Parameter now: milliseconds.
    mutating func account(_ prompt: Prompt, now: Double) -> Usage {
        var usage = Usage()
        let breakpoints = prompt.blocks.indices.filter { prompt.blocks[$0].breakpoint != nil }
        for index in breakpoints {
            for earlier in prompt.blocks[max(0, index - Self.lookBack + 1)...index].reversed() {
                guard let entry = entries[earlier.digest], now - entry.written < entry.lifetime.rawValue * 1000 else { continue }
                entries[earlier.digest]?.written = now
                usage.cacheRead = max(usage.cacheRead, earlier.tokens)
                break
            }
        }
        var covered = usage.cacheRead
        for index in breakpoints {
            let block = prompt.blocks[index]
            guard let lifetime = block.breakpoint, block.tokens > covered, block.tokens >= minimum else { continue }
            usage.cacheCreation[lifetime, default: 0] += block.tokens - covered
            entries[block.digest] = Entry(lifetime: lifetime, written: now)
            covered = block.tokens
        }
        usage.input = prompt.tokens - covered
        return usage
    }
}
