/// Macros are read nowhere else: those of a file of tests stay, and no new one takes the place of a name that tests use.
struct MacrosOfTests {
    var violations: [String] = []

    init(old: CSource, new: CSource) {
        let kept = Set(new.directives.filter { $0.name == "define" }.map(\.words.spelling))
        var told: Set<String> = []
        for directive in old.directives where directive.name == "define" && !kept.contains(directive.words.spelling) {
            let name = directive.words.first?.text ?? ""
            told.insert(name)
            violations.append("changes the macro \(name), on which tests stand")
        }
        let known = Set(old.directives.map { $0.name + $0.words.spelling })
        let used = Set(old.tokens.filter { $0.kind == .identifier }.map(\.text))
        for directive in new.directives where ["define", "undef"].contains(directive.name) {
            guard let name = directive.words.first?.text, used.contains(name), !told.contains(name),
                !known.contains(directive.name + directive.words.spelling)
            else { continue }
            violations.append("gives another meaning to \(name), which tests use: #\(directive.name) \(directive.words.spelling)")
        }
    }
}
