/// As much of C as a rule about lines needs: which of the text is code.
enum CCode {
    /// The lines without their comments, and whether the last comment is still open at the end.
    static func strip(_ lines: [String]) -> (lines: [String], endsInComment: Bool) {
        var inComment = false
        let stripped = lines.map { line in
            var code: [UInt8] = []
            var quote: UInt8?
            let bytes = Array(line.utf8)
            var index = 0
            while index < bytes.count {
                let byte = bytes[index], next = index + 1 < bytes.count ? bytes[index + 1] : 0
                let pair = (byte, next)
                if inComment {
                    if pair == (UInt8(ascii: "*"), UInt8(ascii: "/")) { (inComment, index) = (false, index + 1) }
                } else if let open = quote {
                    if byte == UInt8(ascii: "\\") { index += 1 } else if byte == open { quote = nil }
                    // What stands in a string is not code either.
                    if quote == nil { code.append(byte) }
                } else if pair == (UInt8(ascii: "/"), UInt8(ascii: "/")) {
                    break
                } else if pair == (UInt8(ascii: "/"), UInt8(ascii: "*")) {
                    (inComment, index) = (true, index + 1)
                } else {
                    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") { quote = byte }
                    code.append(byte)
                }
                index += 1
            }
            return String(decoding: code, as: UTF8.self)
        }
        return (stripped, inComment)
    }
}
