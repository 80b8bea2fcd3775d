import AutonKit

/// A form of secret: how it begins, and what and how much follows.
struct Secret: Sendable {
    enum Alphabet: Sendable { case upper, hex, alphanumeric, word, base64, token }

    var what: String
    var beginning: String
    var alphabet: Alphabet
    var count: ClosedRange<Int>

    private init(_ what: String, _ beginning: String, _ alphabet: Alphabet, _ count: ClosedRange<Int>) {
        (self.what, self.beginning, self.alphabet, self.count) = (what, beginning, alphabet, count)
    }

    /// From the providers' own documentation of their keys' forms.
    private static let forms: [Secret] =
        ["AKIA", "ASIA", "ABIA", "ACCA"].map { Secret("an AWS access key id", $0, .upper, 16...16) }
        + ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].map { Secret("a GitHub token", $0, .alphanumeric, 36...255) }
        + ["sk_live_", "rk_live_", "sk_test_", "rk_test_"].map { Secret("a Stripe key", $0, .alphanumeric, 24...255) }
        + ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-"].map { Secret("a Slack token", $0, .token, 10...255) }
        + [
            Secret("a GitHub token", "github_pat_", .word, 22...255), Secret("a GitLab token", "glpat-", .token, 20...255),
            Secret("an Anthropic API key", "sk-ant-", .token, 20...255),
            Secret("an OpenAI API key", "sk-proj-", .token, 20...255),
            Secret("an OpenAI API key", "sk-svcacct-", .token, 20...255), Secret("an API key", "sk-or-v1-", .hex, 64...64),
            Secret("an OpenAI API key", "sk-", .alphanumeric, 40...64), Secret("a Google API key", "AIza", .token, 35...35),
            Secret("a Google OAuth secret", "GOCSPX-", .token, 28...28),
            Secret("a Google OAuth token", "ya29.", .token, 30...2048),
            Secret("an npm token", "npm_", .alphanumeric, 36...36), Secret("a PyPI token", "pypi-AgE", .token, 50...1024),
            Secret("a Hugging Face token", "hf_", .alphanumeric, 34...40),
            Secret("a Slack webhook", "hooks.slack.com/services/T", .base64, 20...80),
            Secret("a DigitalOcean token", "dop_v1_", .hex, 64...64),
            Secret("an age secret key", "AGE-SECRET-KEY-1", .upper, 58...58),
            Secret("a Docker token", "dckr_pat_", .token, 20...64), Secret("a SendGrid key", "SG.", .token, 60...80),
            Secret("an Azure storage key", "AccountKey=", .base64, 80...90), Secret("a Databricks token", "dapi", .hex, 32...34),
            Secret("a bearer token", "Authorization: Bearer ", .token, 20...4096),
            Secret("an API key", "x-api-key: ", .token, 20...4096),
        ]

    private static let formsByFirstByte = Dictionary(grouping: forms) { $0.beginning.utf8.first ?? 0 }

    /// What kind of secret a line has; nil if none.
    static func `in`(_ line: String) -> String? {
        let bytes = Array(line.utf8)
        guard bytes.count >= 20 else { return nil }
        if contains(bytes, "-----BEGIN ") && contains(bytes, "PRIVATE KEY") { return "a private key" }
        // Within a longer word it is something else.
        for start in bytes.indices where start == 0 || !bytes[start - 1].isOfName {
            for form in formsByFirstByte[bytes[start]] ?? [] where bytes[start...].starts(with: form.beginning.utf8) {
                let rest = bytes[(start + form.beginning.utf8.count)...].prefix(form.count.upperBound + 1)
                let count = rest.prefix { form.allows($0) }.count
                if form.count.contains(count) { return form.what }
            }
        }
        return isWebToken(bytes) ? "a JSON web token" : isAWSSecret(bytes) ? "an AWS secret access key" : nil
    }

    private func allows(_ byte: UInt8) -> Bool {
        switch (alphabet, byte) {
        case (_, UInt8(ascii: "0")...UInt8(ascii: "9")): true
        case (.hex, _):
            (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
        case (_, UInt8(ascii: "A")...UInt8(ascii: "Z")): true
        case (.upper, _): false
        case (_, UInt8(ascii: "a")...UInt8(ascii: "z")): true
        case (.alphanumeric, _): false
        case (.word, _): byte == UInt8(ascii: "_")
        case (.base64, _): "/+=".utf8.contains(byte)
        case (.token, _): "_-.".utf8.contains(byte)
        }
    }

    /// Three parts, of which the first two are JSON objects.
    private static func isWebToken(_ bytes: [UInt8]) -> Bool {
        places(of: "eyJ", in: bytes).contains { start in
            let parts = bytes[start...].prefix(4096).prefix { $0.isOfName || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
                .split(separator: UInt8(ascii: "."))
            return parts.count == 3 && parts[1].starts(with: "eyJ".utf8) && parts.allSatisfy { $0.count >= 10 }
        }
    }

    /// `aws_secret_access_key = …`, in any case, with 40 characters.
    private static func isAWSSecret(_ bytes: [UInt8]) -> Bool {
        let lower = bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
        let names = ["secret_access_key", "secretaccesskey", "aws_secret"]
        guard names.contains(where: { contains(lower, $0) }) else { return false }
        return bytes.split { !($0.isOfName || $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "+")) }.contains { word in
            word.count == 40 && word.contains { $0 < UInt8(ascii: "A") } && word.contains { $0 >= UInt8(ascii: "a") }
        }
    }

    private static func contains(_ bytes: [UInt8], _ text: String) -> Bool { !places(of: text, in: bytes).isEmpty }

    private static func places(of text: String, in bytes: [UInt8]) -> [Int] {
        guard let first = text.utf8.first else { return [] }
        return bytes.indices.filter { bytes[$0] == first && bytes[$0...].starts(with: text.utf8) }
    }
}
