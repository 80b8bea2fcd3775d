/// Names that tell a file who includes it, or that are found wherever they stand, and parts that begin them; and the time of the build.
enum CompilerNames {
    private static let telling: Set<String> = Set([
        "__has_include", "__has_include_next", "__has_embed", "__gnu_inline__", "__weak__", "_Pragma",
    ])
    .union(HarnessNames.placesOfCompilation).union(HarnessNames.tables)

    /// Words that are refused: what tells the time, what asks for files, and what a macro could make such a name of by putting the rest
    /// behind it.
    static func refused(in source: CSource) -> [Token] {
        let definitions = source.directives.map { directive in
            let takesArguments = directive.words.count > 1 && directive.words[1].isPunctuator("(") && directive.words[1].isTight
            return directive.name == "define" && takesArguments
                ? directive.words.drop { !$0.isPunctuator(")") }.dropFirst() : directive.words[...]
        }
        return ([source.tokens[...]] + definitions).flatMap(refused)
    }

    private static func refused(in words: ArraySlice<Token>) -> [Token] {
        var found: [Token] = []
        // What is called by each parenthesis that is open, and by the last one.
        var open: [String?] = [], last: String?
        for (index, word) in zip(words.indices, words) {
            let before = index > words.startIndex ? words[index - 1] : nil
            let after = index + 1 < words.endIndex ? words[index + 1] : nil
            if word.isPunctuator("(") {
                open.append(before?.kind == .identifier ? before?.text : before?.isPunctuator(")") == true ? last : nil)
            } else if word.isPunctuator(")") {
                last = open.popLast() ?? nil
            } else if word.kind == .identifier && isRefused(word.text) {
                found.append(word)
            } else if word.kind == .identifier && isPart(word.text) {
                // It is pasted where it is the last of what a macro is called with, or of what it stands for.
                let endsArgument = after.map { $0.isPunctuator(",") || $0.isPunctuator(")") } == true
                let isLast =
                    after == nil || after?.kind == .identifier || endsArgument && open.contains { $0.map(mayPaste) == true }
                let isBeside = before?.isPunctuator("##") == true || after?.isPunctuator("##") == true
                if isLast || isBeside { found.append(word) }
            }
        }
        return found
    }

    private static func isRefused(_ name: String) -> Bool {
        name.hasPrefix("__")
            && (["__DATE__", "__TIME__", "__TIMESTAMP__"].contains(name) || name.hasPrefix("__has_include")
                || name.hasPrefix("__has_embed"))
    }

    private static func isPart(_ name: String) -> Bool {
        name.hasPrefix("_") && !telling.contains(name) && telling.contains { $0.hasPrefix(name) }
    }

    /// Whether what has that name may be a macro that puts words together: those that are nobody's to define are none.
    private static func mayPaste(_ name: String) -> Bool {
        !DisguiseRule.keywords.contains(name) && !HarnessNames.isReserved(name)
    }
}
