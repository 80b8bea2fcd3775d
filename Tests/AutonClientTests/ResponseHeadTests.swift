import FoundationEssentials
import Testing

@testable import AutonClient

@Suite struct ResponseHeadTests {
    private func head(_ lines: String...) -> ResponseHead {
        var head = ResponseHead()
        for line in ["HTTP/1.1 200 OK"] + lines { head.take(line + "\r\n") }
        return head
    }

    @Test func theLastStatusCounts() {
        let head = head("content-type: text/html", "", "HTTP/2 529", "Content-Type:  application/json; charset=utf-8 ", "")
        #expect(head.status == 529 && head.isJSON && !head.isEventStream)
        #expect(self.head("CONTENT-TYPE: Text/Event-Stream;charset=utf-8").isEventStream)
        #expect(ResponseHead().status == 0)
    }

    @Test(arguments: [
        ("retry-after: 7", 7), ("Retry-After: 0", nil), ("retry-after: 1.5", 1.5), ("retry-after-ms: 250", 0.25),
        ("retry-after: soon", nil), ("retry-after: -3", nil), ("retry-after: nan", nil), ("retry-after: inf", nil),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT", nil), ("x: y", nil),
    ])
    func howLongToWait(line: String, seconds: Double?) {
        #expect(head(line).retryAfter == seconds)
    }

    @Test func theFinerHeaderCounts() {
        #expect(head("retry-after: 9", "retry-after-ms: 10").retryAfter == 0.01)
        #expect(head("retry-after: 9", "retry-after-ms: x").retryAfter == 9)
    }

    @Test func aDateIsWaitedFor() throws {
        // Far away, so that the clock's going on does not matter.
        let seconds = try #require(head("retry-after: Fri, 01 Jan 2100 00:00:00 GMT").retryAfter)
        #expect(abs(seconds - (4_102_444_800 - Date().timeIntervalSince1970)) < 60)
    }

    @Test func aLimitThatIsUsedUpIsWaitedFor() throws {
        func seconds(_ remaining: String, _ reset: String) -> Double? {
            head(
                "anthropic-ratelimit-requests-remaining: 5", "anthropic-ratelimit-requests-reset: 2100-01-02T00:00:00Z",
                "anthropic-ratelimit-input-tokens-remaining: \(remaining)", "anthropic-ratelimit-input-tokens-reset: \(reset)"
            ).secondsUntilReset
        }
        let wait = try #require(seconds("0", "2100-01-01T00:00:00Z"))
        #expect(abs(wait - (4_102_444_800 - Date().timeIntervalSince1970)) < 60)
        #expect(seconds("0", "2100-01-01T00:00:00.5Z") != nil)
        #expect(seconds("1", "2100-01-01T00:00:00Z") == nil)
        #expect(seconds("0", "2020-01-01T00:00:00Z") == nil)
        #expect(seconds("0", "some day") == nil)
        #expect(head("anthropic-ratelimit-requests-remaining: 0").secondsUntilReset == nil)
    }
}
