import AutonKit
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import AutonSettings

/// Where the API key comes from, and where it does not go.
@Suite struct APIKeyTests {
    private let directory: TemporaryDirectory
    private static let secret = "sk-ant-secret-0123456789"

    init() throws { directory = try TemporaryDirectory() }

    private func settings(keyFile: String? = nil) -> Settings {
        var settings = Settings()
        settings.model.keyFile = keyFile.map { directory[$0].string }
        return settings
    }

    private func keyFile(_ text: String, mode: mode_t = 0o600) throws {
        try directory.write("key", text)
        chmod(directory["key"].string, mode)
    }

    private func find(_ settings: Settings, _ variables: [String: String] = [:]) throws -> APIKey? {
        try APIKey.find(settings) { variables[$0] }
    }

    @Test func theEnvironmentGoesOverTheFile() throws {
        try keyFile("sk-file\n")
        let both = ["ANTHROPIC_API_KEY": "sk-key", "ANTHROPIC_AUTH_TOKEN": "sk-token"]
        #expect(try find(settings(keyFile: "key"), both)?.secret == "sk-key")
        let token = try find(settings(keyFile: "key"), ["ANTHROPIC_AUTH_TOKEN": "sk-token"])
        #expect(token?.secret == "sk-token" && token?.source == "environment ANTHROPIC_AUTH_TOKEN")
        #expect(try find(settings(keyFile: "key"))?.secret == "sk-file")
        #expect(try find(settings()) == nil)
        var none = settings(keyFile: "key")
        none.model.auth = .none
        #expect(try find(none, both) == nil)
    }

    @Test(arguments: [0o600, 0o400, 0o700])
    func aFileOfOurOwn(_ mode: mode_t) throws {
        try keyFile("sk-file", mode: mode)
        symlink("key", directory["link"].string)
        #expect(try find(settings(keyFile: "link"))?.secret == "sk-file")
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o666, 0o601])
    func aFileThatOthersCanUse(_ mode: mode_t) async throws {
        try keyFile("sk-file", mode: mode)
        let error = await failure { try find(settings(keyFile: "key")) }
        #expect(error?.status == .badConfiguration)
        #expect(
            error?.description
                == "the key file can be used by others than its owner (chmod 600 mends that): \(directory["key"])")
    }

    @Test(.enabled(if: geteuid() == 0, "needs to give a file away"))
    func aFileOfSomebodyElse() async throws {
        try keyFile("sk-file")
        chown(directory["key"].string, 65534, 65534)
        let error = await failure { try find(settings(keyFile: "key")) }
        #expect(error?.description == "the key file belongs to somebody else: \(directory["key"])")
    }

    @Test func whatIsNoFile() async throws {
        mkfifo(directory["pipe"].string, 0o600)
        for name in ["pipe", "."] {
            let error = await failure { try find(settings(keyFile: name)) }
            #expect(error?.status == .badConfiguration)
            #expect(error?.what == "the key file is no regular file")
        }
        let error = await failure { try find(settings(keyFile: "missing")) }
        #expect(error?.description == "cannot read the key file: No such file or directory: \(directory["missing"])")
        #expect(error?.status == .badConfiguration)
    }

    @Test(arguments: ["", "\n", "sk-1\nX-Evil: 1\n", "sk 1", "sk-\u{e9}", "sk-1\r\n", String(repeating: "k", count: 5000)])
    func whatIsNoKey(_ text: String) async throws {
        try keyFile(text)
        let error = await failure { try find(settings(keyFile: "key")) }
        #expect(error?.status == .badConfiguration)
        // Nothing of it is told.
        #expect(error?.description.contains("sk") == false)
    }

    @Test func itIsNotPrinted() throws {
        let key = try #require(try find(settings(), ["ANTHROPIC_API_KEY": Self.secret]))
        var dumped = ""
        dump(key, to: &dumped)
        dump(["key": key], to: &dumped)
        let printed = "\(key) \([key]) \(String(reflecting: key)) \(String(describing: Optional(key))) \(dumped)"
        #expect(!printed.contains("secret"))
        #expect(printed.contains("API key from environment ANTHROPIC_API_KEY"))
    }

    @Test func autonConfigTellsTheSourceAlone() async throws {
        try keyFile(Self.secret + "\n")
        let run = try ConfigRun("model.key_file = \"\(directory["key"])\"")
        for arguments in [[], ["--json"], ["check"], ["get", "model.key_file"]] {
            let outcome = try await run.run("auton-config", arguments)
            #expect(outcome.status == 0 && !outcome.output.contains("secret"))
        }
        #expect(try await run.config().lines.last == "# API key: file \(directory["key"])")
        chmod(directory["key"].string, 0o644)
        for arguments in [[], ["check"]] {
            let outcome = try await run.run("auton-config", arguments)
            #expect(outcome.status == 78 && outcome.errors.hasPrefix("auton-config: the key file can be used by others"))
        }
    }
}
