/// Takes an event stream (text/event-stream of the HTML standard) apart as it comes, at whatever boundaries it comes
/// in: each byte is looked at once, and only the data of the event at hand is kept.
struct EventStreamParser {
    /// What the value of the field at hand is for.
    private enum Field { case event, data, other }
    private enum Place { case name, valueStart(Field), value(Field) }

    private var place = Place.name
    private var name: [UInt8] = []
    private var event: [UInt8] = []
    private var data: [UInt8] = []
    /// A line feed after a carriage return belongs to the line that has ended already.
    private var afterReturn = false
    private var isFirstLine = true

    /// No field that counts has a longer name; with a byte order mark before it.
    private static let longestName = 8

    /// - Parameter handle: called for each event with its type, empty if it has none, and its data.
    mutating func feed<E: Error>(
        _ bytes: UnsafeRawBufferPointer, _ handle: (_ event: String, _ data: [UInt8]) throws(E) -> Void
    ) throws(E) {
        var rest = bytes[...]
        while let first = rest.first {
            if afterReturn {
                afterReturn = false
                if first == UInt8(ascii: "\n") {
                    rest.removeFirst()
                    continue
                }
            }
            guard let end = rest.firstIndex(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) else {
                return take(rest)
            }
            take(rest[..<end])
            afterReturn = rest[end] == UInt8(ascii: "\r")
            rest = rest[(end + 1)...]
            try endLine(handle)
        }
    }

    /// A piece of one line.
    private mutating func take(_ piece: Slice<UnsafeRawBufferPointer>) {
        var piece = piece
        if case .name = place {
            let colon = piece.firstIndex(of: UInt8(ascii: ":"))
            name += piece[..<(colon ?? piece.endIndex)].prefix(Self.longestName + 1 - name.count)
            guard let colon else { return }
            place = .valueStart(namedField())
            piece = piece[(colon + 1)...]
        }
        if case .valueStart(let field) = place, let first = piece.first {
            if first == UInt8(ascii: " ") { piece.removeFirst() }
            place = .value(field)
        }
        guard case .value(let field) = place else { return }
        switch field {
        case .event: event += piece
        case .data: data += piece
        case .other: break
        }
    }

    private mutating func namedField() -> Field {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        if isFirstLine && name.starts(with: mark) { name.removeFirst(mark.count) }
        if name.elementsEqual("data".utf8) { return .data }
        guard name.elementsEqual("event".utf8) else { return .other }
        event = []
        return .event
    }

    private mutating func endLine<E: Error>(_ handle: (String, [UInt8]) throws(E) -> Void) throws(E) {
        defer {
            place = .name
            name.removeAll(keepingCapacity: true)
            isFirstLine = false
        }
        switch place {
        case .name where name.isEmpty: try dispatch(handle)
        case .name: if namedField() == .data { data.append(UInt8(ascii: "\n")) }
        case .valueStart(.data), .value(.data): data.append(UInt8(ascii: "\n"))
        case .valueStart, .value: break
        }
    }

    private mutating func dispatch<E: Error>(_ handle: (String, [UInt8]) throws(E) -> Void) throws(E) {
        defer {
            event = []
            data = []
        }
        if data.isEmpty { return }
        data.removeLast()
        try handle(String(decoding: event, as: UTF8.self), data)
    }
}
