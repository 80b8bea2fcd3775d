extension UInt8 {
    /// Whether it is a letter or a digit of ASCII.
    package var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    /// Whether a name of C may have it.
    package var isOfName: Bool { isLetterOrDigit || self == UInt8(ascii: "_") }

    /// Whether a header's name may have it: RFC 9110, 5.6.2, `tchar`.
    package var isOfHeaderName: Bool { isLetterOrDigit || "!#$%&'*+-.^_`|~".utf8.contains(self) }
}
