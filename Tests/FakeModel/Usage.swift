/// What a request used, in tokens. The input is the sum of what was cached, what was put into the cache, and the rest.
struct Usage {
    var input = 0
    var cacheCreation: [Prompt.Lifetime: Int] = [:]
    var cacheRead = 0
    var output = 0

    init() {}

    /// As a response tells it.
    init(_ json: JSON) {
        input = json["input_tokens"]?.integer ?? 0
        output = json["output_tokens"]?.integer ?? 0
        cacheRead = json["cache_read_input_tokens"]?.integer ?? 0
        let hour = json["cache_creation"]?["ephemeral_1h_input_tokens"]?.integer ?? 0
        cacheCreation = [.hour: hour, .fiveMinutes: (json["cache_creation_input_tokens"]?.integer ?? 0) - hour]
    }

    /// - Parameter plainly: as servers without a prompt cache tell it.
    func json(plainly: Bool) -> JSON {
        let hour = cacheCreation[.hour, default: 0], minutes = cacheCreation[.fiveMinutes, default: 0]
        if plainly {
            return ["input_tokens": .integer(input + hour + minutes + cacheRead), "output_tokens": .integer(output)]
        }
        return [
            "input_tokens": .integer(input), "cache_creation_input_tokens": .integer(hour + minutes),
            "cache_read_input_tokens": .integer(cacheRead),
            "cache_creation": ["ephemeral_5m_input_tokens": .integer(minutes), "ephemeral_1h_input_tokens": .integer(hour)],
            "output_tokens": .integer(output), "service_tier": "standard",
        ]
    }
}

/// USD per million tokens. Writing to the cache costs 1.25 times the input's price, or twice if it is to last an hour; reading 0.1 times.
struct Prices: Sendable {
    var input: Double
    var output: Double

    func cost(of usage: Usage) -> Double {
        let weighed =
            Double(usage.input) + 1.25 * Double(usage.cacheCreation[.fiveMinutes, default: 0])
            + 2 * Double(usage.cacheCreation[.hour, default: 0]) + 0.1 * Double(usage.cacheRead)
        return (weighed * input + Double(usage.output) * self.output) / 1e6
    }
}
