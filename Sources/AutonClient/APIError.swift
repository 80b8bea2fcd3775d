import AutonKit
import AutonModel

/// What a server says went wrong: `{"type":"error","error":{"type":…,"message":…},"request_id":…}`, or one of the
/// shapes that other servers have.
struct APIError: Equatable, CustomStringConvertible {
    var type: String?
    var message: String

    var description: String { [type, message].compactMap { $0 }.joined(separator: ": ") }

    /// Of an error event, or of a body with an error in it; nil if there is none.
    init?(_ body: JSONValue) {
        switch body["error"] {
        case .object(let error):
            type = error["type"]?.string
            message = error["message"]?.string ?? "no message"
        case .string(let text):
            message = text
        default: return nil
        }
        if let request = body["request_id"]?.string { message += " (\(request))" }
    }

    /// Of the body of an HTTP error, whatever it is.
    init(body: [UInt8]) {
        if let value = try? CompactJSON.decode(JSONValue.self, from: body, at: "") {
            if let error = APIError(value) {
                self = error
                return
            }
            if let text = value["message"]?.string ?? value["detail"]?.string {
                self.init(message: text)
                return
            }
        }
        let words = String(decoding: body.prefix(1 << 16), as: UTF8.self).split(whereSeparator: \.isWhitespace)
        self.init(message: words.isEmpty ? "no message" : words.joined(separator: " "))
    }

    init(type: String? = nil, message: String) {
        self.type = type
        self.message = message
    }

    /// The HTTP status that goes with the type, for an error that comes after 200.
    var status: Int {
        switch type {
        case "invalid_request_error": 400
        case "authentication_error": 401
        case "billing_error": 402
        case "permission_error": 403
        case "not_found_error": 404
        case "request_too_large": 413
        case "rate_limit_error": 429
        case "timeout_error": 504
        case "overloaded_error": 529
        default: 500
        }
    }
}
