/// Cuts a stream into its lines, whatever the pieces that it comes in. What it keeps is one line, and of that no more
/// than `longest`.
struct LineReader {
    struct Line: Equatable {
        /// Without its end, and without carriage returns before that.
        var bytes: ArraySlice<UInt8>
        /// There was more of it than fits.
        var isCut = false
    }

    static let longest = 4096

    private var begun: [UInt8] = []
    private var isCut = false

    /// The next line, when `rest` has its end; what it was read from is taken off `rest`.
    mutating func next(in rest: inout ArraySlice<UInt8>) -> Line? {
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
            extend(rest)
            rest = []
            return nil
        }
        extend(rest[..<end])
        rest = rest[(end + 1)...]
        return take()
    }

    /// What came after the last end of a line; nil if nothing did.
    mutating func rest() -> Line? { begun.isEmpty ? nil : take() }

    private mutating func extend(_ bytes: ArraySlice<UInt8>) {
        let room = Self.longest - begun.count
        if bytes.count > room { isCut = true }
        begun += bytes.prefix(room)
    }

    private mutating func take() -> Line {
        defer {
            begun = []
            isCut = false
        }
        return Line(bytes: begun[..<((begun.lastIndex { $0 != UInt8(ascii: "\r") } ?? -1) + 1)], isCut: isCut)
    }
}
