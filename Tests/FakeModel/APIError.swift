/// An error as the API tells it.
struct APIError: Error {
    var status: Int
    var type: String
    var message: String
    var headers: [(name: String, value: String)] = []

    init(_ status: Int, _ message: String, type: String? = nil, headers: [(name: String, value: String)] = []) {
        self.status = status
        self.type = type ?? Self.type(of: status)
        self.message = message
        self.headers = headers
    }

    /// A request that the API would refuse.
    static func invalid(_ message: String) -> APIError { APIError(400, message) }

    func body(requestID: String) -> JSON {
        ["type": "error", "error": ["type": .string(type), "message": .string(message)], "request_id": .string(requestID)]
    }

    private static func type(of status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 402: "billing_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 504: "timeout_error"
        case 529: "overloaded_error"
        case 500...: "api_error"
        default: "invalid_request_error"
        }
    }
}
