import AutonKit
import AutonSettings
import TestSupport
import Testing

@testable import AutonClient

@Suite struct RequestHeadersTests {
    private func lines(key: String? = "secret", _ change: (inout Settings.Model) -> Void = { _ in }) throws -> [String] {
        var settings = Settings.Model()
        change(&settings)
        return try RequestHeaders.lines(settings, apiKey(key))
    }

    @Test func theKeyIsShownAsConfigured() throws {
        let start = ["content-type: application/json", "anthropic-version: 2026-10-21"]
        #expect(try lines() == start + ["authorization: Bearer secret", "expect:"])
        #expect(try lines { $0.auth = .apiKey } == start + ["x-api-key: secret", "expect:"])
        #expect(try lines { $0.auth = .none } == start + ["expect:"])
        #expect(
            try lines {
                $0.version = "2023-06-01"
                $0.headers = ["x-empty": "", "anthropic-beta": "a,b"]
            } == [
                "content-type: application/json", "anthropic-version: 2023-06-01", "authorization: Bearer secret",
                "anthropic-beta: a,b", "x-empty;", "expect:",
            ])
    }

    @Test func whatIsNoHeaderIsRefusedAndNotShown() async {
        let none = await failure { try lines(key: nil) }
        #expect(none?.status == .badConfiguration && none?.what == "there is no key")
        for (name, value) in [("a b", "x"), ("", "x"), ("a:", "x"), ("ü", "x"), ("x", "hidden\r\nhost: y"), ("x", "hidden\0")] {
            let error = await failure { try lines { $0.headers = [name: value] } }
            #expect(error?.status == .badConfiguration && error?.location == name && error?.what.contains("hidden") == false)
        }
    }
}
