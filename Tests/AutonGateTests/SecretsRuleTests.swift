import Testing

@testable import AutonGate

/// Every key here is made up.
@Suite struct SecretsRuleTests {
    private func violations(_ line: String) -> [String] {
        SecretsRule().violations(in: .made("lib/a.c", from: nil, to: "int a;\n\(line)\nint b;"))
    }

    private static let digits = String(repeating: "0aB3", count: 40)
    private static func some(_ count: Int) -> String { String(digits.prefix(count)) }

    @Test(arguments: [
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"), ("\"-----BEGIN OPENSSH PRIVATE KEY-----\\n\"", "a private key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "a private key"), ("key = AKIA" + "IOSFODNN7EXAMPLE", "an AWS access key id"),
        ("const char k[] = \"ASIA" + "IOSFODNN7EXAMPLE\";", "an AWS access key id"),
        ("AWS_SECRET_ACCESS_KEY=" + some(40), "an AWS secret access key"), ("gh" + "p_" + some(36), "a GitHub token"),
        ("github_" + "pat_" + some(40), "a GitHub token"), ("gl" + "pat-" + some(20), "a GitLab token"),
        ("k = sk-" + "ant-api03-" + some(80), "an Anthropic API key"),
        ("\"sk-" + "proj-" + some(48) + "\"", "an OpenAI API key"),
        ("sk-" + some(48), "an OpenAI API key"), ("AI" + "za" + some(35), "a Google API key"),
        ("xox" + "b-1234567890-" + some(20), "a Slack token"),
        ("sk_" + "live_" + some(24), "a Stripe key"), ("npm" + "_" + some(36), "an npm token"),
        ("eyJ" + some(20) + ".eyJ" + some(30) + "." + some(43), "a JSON web token"),
        ("Authorization: Bearer " + some(40), "a bearer token"), ("/* hf" + "_" + some(34) + " */", "a Hugging Face token"),
    ])
    func isSeenAndNotRepeated(line: String, what: String) {
        #expect(violations(line) == ["lib/a.c: \(what) (line 2)"])
    }

    @Test(arguments: [
        "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "#define MASKIA 1", "AKIA" + "short", "task_" + some(40),
        "risk-" + some(48), "static const uint8_t key[] = { 0x2b, 0x7e, 0x15, 0x16 };",
        "sha256:" + String(repeating: "0123456789abcdef", count: 4),
        "commit 25dca2656338037d79c06212ae586e483dbbebb7", "z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;", "ghp_token", "sk-ant-",
        "Authorization: Bearer %s", "hf_frame_alloc_and_zero_the_whole_of_it", "aws_secret_access_key = getenv(name)",
    ])
    func falseAlarms(line: String) {
        #expect(violations(line) == [])
    }

    @Test func whatGoesIsNoSecretThatComes() {
        #expect(SecretsRule().violations(in: .made("a", from: "AKIA" + "IOSFODNN7EXAMPLE", to: nil)) == [])
    }
}
