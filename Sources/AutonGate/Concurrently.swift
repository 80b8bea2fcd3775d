/// Does the same with all items side by side, `atOnce` of them at most.
///
/// - Returns: what came of them, in the order of the items.
package func concurrently<Item: Sendable, Value: Sendable>(
    _ items: [Item], atOnce: Int = .max, _ body: @escaping @Sendable (Item) async throws -> Value
) async throws -> [Value] {
    try await withThrowingTaskGroup(of: (Int, Value).self) { group in
        var found: [(Int, Value)] = []
        for (index, item) in items.enumerated() {
            if index >= atOnce, let next = try await group.next() { found.append(next) }
            group.addTask { (index, try await body(item)) }
        }
        return try await group.reduce(into: found) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
}
