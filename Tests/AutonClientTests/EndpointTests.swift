import AutonKit
import TestSupport
import Testing

@testable import AutonClient

@Suite struct EndpointTests {
    @Test(arguments: [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com//v1//", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("HTTPS://proxy.example:8443/anthropic/v1/", "https://proxy.example:8443/anthropic/v1/messages"),
        ("https://proxy.example/messages", "https://proxy.example/messages/v1/messages"),
        ("http://localhost:11434", "http://localhost:11434/v1/messages"),
        ("http://[::1]:8080/", "http://[::1]:8080/v1/messages"),
        ("http://127.9.8.7", "http://127.9.8.7/v1/messages"),
    ])
    func theAddressOfMessages(base: String, url: String) throws {
        #expect(try Endpoint(base, allowsPlainHTTP: false).url == url)
    }

    @Test(arguments: [
        ("http://10.0.0.1", "the base URL is plain http to another machine"),
        ("http://127.0.0.1.example.com", "the base URL is plain http to another machine"),
        ("http://localhost.example.com", "the base URL is plain http to another machine"),
        ("http://[::2]", "the base URL is plain http to another machine"),
        ("http://0.0.0.0", "the base URL is plain http to another machine"),
        ("ftp://a.example", "the base URL must begin with https:// or http://"),
        ("file:///etc/passwd", "the base URL must begin with https:// or http://"),
        ("localhost:11434", "the base URL "),
        ("api.anthropic.com", "the base URL "),
        ("", "the base URL "),
        ("https://", "the base URL "),
        ("https://a.example:99999", "the base URL is malformed: "),
        ("https://a b.example", "the base URL is malformed: "),
        ("https://a.example/?key=1", "the base URL must end with its path"),
        ("https://a.example/#x", "the base URL must end with its path"),
    ])
    func whatCannotBeMeantIsRefused(base: String, message: String) async {
        let error = await failure { try Endpoint(base, allowsPlainHTTP: false) }
        #expect(error?.status == .badConfiguration && error?.location == base)
        #expect(error?.what.hasPrefix(message) == true, "\(error?.what ?? "no error")")
    }

    @Test func aPasswordIsNotShown() async {
        let error = await failure { try Endpoint("https://me:secret@a.example", allowsPlainHTTP: false) }
        #expect(
            error?.description
                == "the base URL must hold no user and no password; the key has a place of its own: https://…@a.example")
    }

    @Test func plainHTTPMayBeAllowed() throws {
        let endpoint = try Endpoint("http://10.0.0.1", allowsPlainHTTP: true)
        #expect(!endpoint.isLoopback)
        #expect(try Endpoint("http://127.0.0.1", allowsPlainHTTP: true).isLoopback)
    }
}
