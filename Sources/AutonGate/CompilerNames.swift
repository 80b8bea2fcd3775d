/// Names that tell a file who includes it, or that are found wherever they stand, and parts that begin them; and the time of the build.
enum CompilerNames {
    private static let telling: Set<String> = Set([
        "__has_include", "__has_include_next", "__has_embed", "__gnu_inline__", "__weak__", "_Pragma",
    ])
    .union(HarnessNames.placesOfCompilation).union(HarnessNames.tables)

    /// Whether a macro could make such a name of it by putting the rest behind it, or asks for files.
    static func isPart(_ name: String) -> Bool {
        guard name.hasPrefix("_") else { return false }
        if ["__DATE__", "__TIME__", "__TIMESTAMP__"].contains(name) { return true }
        return name.hasPrefix("__has_include") || name.hasPrefix("__has_embed")
            || !telling.contains(name) && telling.contains { $0.hasPrefix(name) }
    }
}
