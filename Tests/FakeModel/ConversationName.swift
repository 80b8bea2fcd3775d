/// The conversation that a first message belongs to, by what it says of itself.
enum ConversationName {
    /// `boot-002.1`, `boot-002.1.review`, `plan`; nil for what none of our programs would say.
    static func of(firstMessage text: String) -> String? {
        if text.hasPrefix("The goal:") { return "plan" }
        for line in text.split(separator: "\n") where line.hasPrefix("Task: ") {
            let words = line.dropFirst(6).split(separator: " ", maxSplits: 3)
            guard words.count >= 3, words[0].hasSuffix(","), words[1] == "attempt",
                let attempt = Int(words[2].prefix { $0.isNumber })
            else { continue }
            return "\(words[0].dropLast()).\(attempt)" + (text.hasPrefix("# Review: ") ? ".review" : "")
        }
        return nil
    }
}
