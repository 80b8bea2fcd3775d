extension String {
    /// What may be shown of a URL that might hold a password: all but what is before its host.
    package var withoutUser: String {
        guard let at = lastIndex(of: "@") else { return self }
        let start = firstRange(of: "//")?.upperBound ?? startIndex
        return start < at ? "\(self[..<start])…\(self[at...])" : "…\(self[at...])"
    }
}
