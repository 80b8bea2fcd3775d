import AutonKit
import TestSupport
import Testing

@testable import AutonClient

@Suite struct RequestHeadersTests {
    private func lines(_ change: (inout HTTPSettings) -> Void) throws -> [String] {
        var settings = HTTPSettings(model: "m")
        settings.key = "secret"
        change(&settings)
        return try RequestHeaders.lines(settings)
    }

    @Test func theKeyIsShownAsConfigured() throws {
        let start = ["content-type: application/json", "anthropic-version: 2026-10-21"]
        #expect(try lines { _ in } == start + ["authorization: Bearer secret", "expect:"])
        #expect(try lines { $0.authentication = .xAPIKey } == start + ["x-api-key: secret", "expect:"])
        #expect(try lines { $0.authentication = .none } == start + ["expect:"])
        #expect(
            try lines {
                $0.version = "2023-06-01"
                $0.headers = [("anthropic-beta", "a,b"), ("x-empty", "")]
            } == [
                "content-type: application/json", "anthropic-version: 2023-06-01", "authorization: Bearer secret",
                "anthropic-beta: a,b", "x-empty;", "expect:",
            ])
    }

    @Test func whatIsNoHeaderIsRefusedAndNotShown() async {
        for key in [nil, ""] {
            let error = await failure { try lines { $0.key = key } }
            #expect(error?.status == .badConfiguration && error?.what == "there is no key")
        }
        for (name, value) in [("a b", "x"), ("", "x"), ("a:", "x"), ("ü", "x"), ("x", "hidden\r\nhost: y"), ("x", "hidden\0")] {
            let error = await failure { try lines { $0.headers = [(name, value)] } }
            #expect(error?.status == .badConfiguration && error?.location == name && error?.what.contains("hidden") == false)
        }
        let error = await failure { try lines { $0.key = "secret\n" } }
        #expect(error?.status == .badConfiguration && error?.description.contains("secret") == false)
    }
}
