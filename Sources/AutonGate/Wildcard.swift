/// A test's name with `*` for any number of any characters: `boot.*`.
package struct Wildcard {
    private let parts: [Substring]

    package init(_ pattern: String) { parts = pattern.split(separator: "*", omittingEmptySubsequences: false) }

    package func matches(_ name: String) -> Bool {
        guard parts.count > 1, let first = parts.first, let last = parts.last else {
            return parts.first.map { $0 == name } ?? false
        }
        guard name.hasPrefix(first) else { return false }
        var rest = name.dropFirst(first.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let range = rest.firstRange(of: part) else { return false }
            rest = rest[range.upperBound...]
        }
        return rest.hasSuffix(last)
    }
}
