extension Settings {
    /// What is said here of a model's prices, in US dollars per million tokens; nil for what is known of it anyway.
    package struct Price: Sendable, Equatable {
        package var input: Double?
        package var output: Double?
        package var cacheWrite: Double?
        package var cacheRead: Double?
        /// Tokens of a conversation at most.
        package var window: Int?
    }

    fileprivate subscript(price name: String) -> Price {
        get { prices[name] ?? Price() }
        set { prices[name] = newValue }
    }
}

extension Setting {
    /// The settings in `[prices."NAME"]`.
    package static func prices(of name: String) -> [Setting] {
        [
            price(name, "input", \.[price: name].input, "Of a million tokens that go in.", .price, example: 2),
            price(name, "output", \.[price: name].output, "Of a million tokens that come out.", .price, example: 10),
            price(
                name, "cache_write", \.[price: name].cacheWrite, "Of a million tokens that the server is to keep.", .price,
                example: 2.5),
            price(
                name, "cache_read", \.[price: name].cacheRead, "Of a million tokens that the server had kept.", .price,
                example: 0.2),
            price(
                name, "window", \.[price: name].window, "Tokens of a conversation at most.", .from(1_000, to: 1_000_000_000),
                example: 200_000),
        ]
    }

    private static func price<Value: SettingType>(
        _ model: String, _ key: String, _ field: any WritableKeyPath<Settings, Value?> & Sendable, _ summary: String,
        _ allowed: Allowed<Value>, example: Value
    ) -> Setting {
        Setting(
            ["prices", model, key], field, summary, allowed, variable: nil, example: example,
            store: { $0[keyPath: field] = $1 }, value: { $0[keyPath: field] })
    }
}

extension Allowed where Value == Double {
    fileprivate static var price: Self { .from0(upTo: 1_000_000) }
}
