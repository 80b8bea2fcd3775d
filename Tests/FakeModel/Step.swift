import AutonKit

/// One step of a script: what is answered, and how it goes wrong on the way. The manual (`--help`) tells the fields.
struct Step: Sendable {
    enum Fault: String, CaseIterable, Sendable {
        case reset, cut, end, stall
        case stallPings = "stall-pings"
        case errorEvent = "error-event"
        case refuse
    }

    /// Text that has to occur in the conversation's first message.
    var conversation: String?
    var response: JSON?
    var textBytes: Int?
    var raw: String?
    var contentType = "application/json"
    var status: Int?
    var headers: [(name: String, value: String)] = []
    var error: JSON?
    var fault: Fault?
    /// Events (of a body that is no stream: bytes) before the fault; half of them if nil.
    var after: Int?
    var chunk: Int?
    var extra: [UInt8] = []
    /// Milliseconds before the reply, and between its events.
    var delay = 0
    var pace = 0
    /// How many requests take it; 0 for all that come.
    var times = 1

    init() {}

    /// - Throws: `AutonError` with `.badInput` for a field that is unknown or of the wrong type.
    init(_ json: JSON, at place: String) throws {
        func wrong(_ what: String) -> AutonError { AutonError(.badInput, what, at: place) }
        guard let members = json.members else { throw wrong("a step must be an object") }
        for member in members {
            func text() throws -> String {
                guard let text = member.value.string else { throw wrong("\(member.name) must be a string") }
                return text
            }
            func count(from least: Int = 0) throws -> Int {
                guard let count = member.value.integer, count >= least else {
                    throw wrong("\(member.name) must be an integer of at least \(least)")
                }
                return count
            }
            switch member.name {
            case "for": conversation = try text()
            case "response":
                guard member.value["content"]?.array != nil else { throw wrong("response needs content, an array of blocks") }
                response = member.value
            case "text_bytes": textBytes = try count(from: 1)
            case "raw": raw = try text()
            case "content_type": contentType = try text()
            case "status": status = try count(from: 200)
            case "headers":
                headers = try (member.value.members ?? []).map { header in
                    guard let value = header.value.string else { throw wrong("header \(header.name) must be a string") }
                    return (header.name, value)
                }
            case "error": error = member.value
            case "fault":
                guard let known = Fault(rawValue: try text()) else {
                    throw wrong("fault must be one of \(Fault.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                fault = known
            case "after": after = try count()
            case "chunk": chunk = try count(from: 1)
            case "extra": extra = Array(try text().utf8)
            case "delay": delay = try count()
            case "pace": pace = try count()
            case "repeat": times = try count()
            default: throw wrong("unknown field \(member.name)")
            }
        }
    }
}
