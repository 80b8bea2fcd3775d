import AutonKit
import Glibc
import SystemPackage

/// The key to the model's server. It is sent there and shows nowhere else: not when printed, not in a dump.
package struct APIKey: Sendable {
    package let secret: String
    /// As in “environment ANTHROPIC_API_KEY” or “file KEY”.
    package let source: String

    /// The variables that may hold it; no child of ours has them.
    package static let variables = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]

    /// The key from the environment, else from the file that the settings name; nil if there is none or none is wanted.
    ///
    /// - Throws: `AutonError` with `.badConfiguration`: a file that others can read, or what cannot be a key.
    package static func find(_ settings: Settings, variables: (String) -> String? = environment) throws -> APIKey? {
        if settings.model.auth == .none { return nil }
        for name in Self.variables {
            if let text = variables(name) { return try APIKey(text, source: "environment \(name)") }
        }
        guard let file = settings.model.keyFile else { return nil }
        return try APIKey(read(FilePath(file)), source: "file \(file)")
    }

    private init(_ text: String, source: String) throws {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw AutonError(.badConfiguration, "the API key is empty or has characters that no key has", at: source)
        }
        secret = text
        self.source = source
    }

    private static func read(_ path: FilePath) throws -> String {
        do {
            let bytes = try Files.failing("cannot read the key file", at: path) {
                // What is no file must not keep us waiting until that is seen.
                let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
                return try file.closeAfter {
                    var status = stat()
                    fstat(file.rawValue, &status)
                    if let flaw = flaw(status) { throw AutonError(.badConfiguration, "the key file \(flaw)", at: path.string) }
                    return try Files.read(file, atMost: 4096)
                }
            }
            return String(decoding: bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...], as: UTF8.self)
        } catch var error as AutonError {
            error.status = .badConfiguration
            throw error
        }
    }

    /// Why a file cannot hold a key; nil if it can.
    private static func flaw(_ status: stat) -> String? {
        if status.st_mode & S_IFMT != S_IFREG { return "is no regular file" }
        if status.st_uid != geteuid() { return "belongs to somebody else" }
        return status.st_mode & 0o077 == 0 ? nil : "can be used by others than its owner (chmod 600 mends that)"
    }
}

extension APIKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "API key from \(source)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["source": source]) }
}
