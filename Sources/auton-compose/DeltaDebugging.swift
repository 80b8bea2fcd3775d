/// Finds a smallest subset that shows what a set shows: ddmin of Zeller and Hildebrandt, "Simplifying and Isolating
/// Failure-Inducing Input", IEEE Transactions on Software Engineering 28(2), 2002.
///
/// The result is 1-minimal: without any one of its items it no longer shows. All subsets of a round are tried at once, and the
/// first in order that shows is gone on with, so that the result does not depend on which was faster.
///
/// - Parameters:
///   - items: a set that shows, where the empty one does not; neither is tried again.
///   - shows: whether a subset, in the order of `items`, does. One of which that cannot be told does not.
func minimize<Item: Sendable>(
    _ items: [Item], shows: @escaping @Sendable ([Item]) async throws -> Bool
) async throws -> [Item] {
    var items = items
    var parts = 2
    while items.count > 1 {
        let chunks = split(items, into: parts)
        if let chunk = try await first(of: chunks, shows: shows) {
            items = chunk
            parts = 2
        } else if parts > 2, let rest = try await first(of: complements(chunks), shows: shows) {
            items = rest
            parts -= 1
        } else if parts < items.count {
            parts = min(2 * parts, items.count)
        } else {
            break
        }
    }
    return items
}

private func split<Item>(_ items: [Item], into parts: Int) -> [[Item]] {
    (0..<parts).map { Array(items[$0 * items.count / parts..<($0 + 1) * items.count / parts]) }
}

private func complements<Item>(_ chunks: [[Item]]) -> [[Item]] {
    chunks.indices.map { left in chunks.indices.filter { $0 != left }.flatMap { chunks[$0] } }
}

private func first<Item: Sendable>(
    of subsets: [[Item]], shows: @escaping @Sendable ([Item]) async throws -> Bool
) async throws -> [Item]? {
    try await withThrowingTaskGroup { group in
        for (index, subset) in subsets.enumerated() {
            group.addTask { try await shows(subset) ? index : nil }
        }
        return try await group.reduce(into: []) { if let index = $1 { $0.append(index) } }.min().map { subsets[$0] }
    }
}
